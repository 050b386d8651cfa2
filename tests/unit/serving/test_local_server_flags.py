"""The command line: what it refuses, what it makes of its flags, and a server in a process of its own."""

import grpc
import numpy as np
import pytest
from google.protobuf import text_format

from crossrec.serving.local_server import LocalServer, ServerStartError
from crossrec.serving.local_server.__main__ import _flags, _server_config, main
from tests.unit.serving.make_models import copy_version
from tests.unit.serving.serve_here import Caller, model, model_config, until

X = {"x": np.array([10.0], np.float32)}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "neither --model_base_path nor --model_config_file is given"),
        (["--model_base_path=/m", "--model_name="], "--model_name is empty"),
        (["--model_base_path=/m", "--port=70000"], "--port=70000: give a port between 0 and 65535"),
        (["--model_base_path=/m", "--grpc_max_threads=0"], "--grpc_max_threads=0: give 1 or more"),
        (["--model_base_path=/m", "--batching_parameters_file=/b"], "works with --enable_batching only"),
        (["--model_base_path=/m", "--enable_batching=perhaps"], "'perhaps': give true or false"),
        (["--model_base_path=/m", "--grpc_channel_arguments=a"], "'a': give key=value"),
        (["--model_config_file=/c", "--model_config_file_poll_wait_seconds=-1"], "give 0 or more"),
        (
            ["--model_base_path=/m", "--tensorflow_session_parallelism=2", "--tensorflow_intra_op_parallelism=2"],
            "give one kind",
        ),
        (["--model_base_path=/m", "--no_such_flag=1"], "--no_such_flag=1"),
    ],
)
def test_wrong_flags_are_named(flags, message, capsys):
    with pytest.raises(SystemExit) as caught:
        main(flags)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def config(*flags):
    return _server_config(_flags().parse_args(["--model_base_path=/models/m", *flags]))


def test_defaults(tensorflow):
    made = config()
    (entry,) = made.model_config.model_config_list.config
    assert (entry.name, entry.base_path, entry.model_platform) == ("recommender", "/models/m", "tensorflow")
    assert (made.host, made.port, made.poll_seconds, made.warmup_iterations) == ("127.0.0.1", 8500, 1.0, 1)
    assert made.load_options.scheduler is None
    assert not made.labels_for_unavailable


def test_flags_reach_the_configuration(tensorflow):
    made = config(
        "--allow_version_labels_for_unavailable_models",
        "--enable_model_warmup=false",
        "--enable_signature_method_name_check=true",
        "--tensorflow_session_parallelism=3",
        "--grpc_channel_arguments=grpc.max_connection_age_ms=2000,grpc.primary_user_agent=me",
        "--grpc_max_threads=5",
        "--enable_batching",
    )
    assert made.labels_for_unavailable and made.load_options.checks_method_names
    assert (made.warmup_iterations, made.max_threads) == (0, 5)
    assert (made.load_options.intra_op_threads, made.load_options.inter_op_threads) == (3, 3)
    assert made.channel_options == (("grpc.max_connection_age_ms", 2000), ("grpc.primary_user_agent", "me"))
    assert made.load_options.scheduler.config.max_batch_size == 1000


@pytest.mark.parametrize("text", [None, "model_config_list { config {", ""])
def test_a_wrong_model_config_file_is_named(tensorflow, tmp_path, capsys, text):
    file = tmp_path / "models.config"
    if text is not None:
        file.write_text(text)
    flags = [f"--model_config_file={file}", "--port=0"]
    with pytest.raises(Exception, match=str(file)):
        _server_config(_flags().parse_args(flags))


def test_a_config_file_with_two_models_in_a_process(adder_path, tmp_path):
    for name, version in (("a", 1), ("b", 2)):
        (tmp_path / name).mkdir()
        copy_version(adder_path / str(version), tmp_path / name, str(version))
    file = tmp_path / "models.config"
    file.write_text(text_format.MessageToString(model_config(model("a", tmp_path / "a"), model("b", tmp_path / "b"))))
    flags = [f"--model_config_file={file}", "--model_config_file_poll_wait_seconds=0.2"]
    with LocalServer(None, startup_seconds=600, flags=flags) as server:
        first, second = Caller(server.target, "a"), Caller(server.target, "b")
        assert first.outputs(X)["y"].tolist() == [11.0]
        assert second.outputs(X)["y"].tolist() == [12.0]
        labelled = model("a", tmp_path / "a", labels={"stable": 1})
        file.write_text(text_format.MessageToString(model_config(labelled)))
        until(lambda: second.statuses() == {2: "END"})
        assert first.outputs(X, label="stable")["y"].tolist() == [11.0]
        pid = server.pid
        assert pid is not None
        assert server.stop() == 0
    with pytest.raises(grpc.RpcError):
        first.predict(X)


def test_a_label_at_the_start_in_a_process(adder_path, tmp_path):
    (tmp_path / "a").mkdir()
    copy_version(adder_path / "1", tmp_path / "a", "1")
    file = tmp_path / "models.config"
    file.write_text(text_format.MessageToString(model_config(model("a", tmp_path / "a", labels={"stable": 1}))))
    with pytest.raises(
        ServerStartError, match="ended with code 255: Failed to start server. Error: FAILED_PRECONDITION"
    ):
        LocalServer(None, startup_seconds=600, flags=[f"--model_config_file={file}"]).start()
