"""The checked-in descriptors are those of the installed package, and live beside TensorFlow in either order."""

import subprocess
import sys

import pytest

from crossrec.serving.contract import generate, messages, names
from crossrec.serving.contract.prediction_logs import (
    predict_request,
    prediction_log,
    read_prediction_logs,
    write_prediction_logs,
)
from crossrec.serving.contract.tensors import to_array
from crossrec.serving.contract.tfrecord import RecordError, masked_crc32c, write_records


def test_checked_in_descriptors_equal_the_installed_ones():
    pytest.importorskip("tensorflow_serving")
    from google.protobuf import descriptor_pb2

    ours = descriptor_pb2.FileDescriptorSet.FromString(generate.DESCRIPTORS.read_bytes())
    installed = generate.installed_descriptors()
    assert [file.name for file in ours.file] == [file.name for file in installed.file]
    assert ours == installed, "run python -m crossrec.serving.contract.generate"


@pytest.mark.parametrize("first", ["contract", "tensorflow"])
def test_contract_and_tensorflow_share_a_process_in_either_order(first):
    pytest.importorskip("tensorflow_serving")
    contract = "from crossrec.serving.contract.messages import PredictRequest as ours"
    theirs = "from tensorflow_serving.apis.predict_pb2 import PredictRequest as theirs"
    order = [contract, theirs] if first == "contract" else [theirs, contract]
    both = ["sent = ours(); sent.model_spec.name = 'é'"]
    program = "\n".join([*order, *both, "assert theirs.FromString(sent.SerializeToString()).model_spec.name == 'é'"])
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr


def test_an_unknown_message_is_a_key_error():
    with pytest.raises(KeyError):
        messages.message_class("tensorflow.serving.Nonsense")


def test_checksum_is_castagnolis():
    # The check value of CRC-32C for "123456789" is e3069283; undo the mask to see it.
    rotated = (masked_crc32c(b"123456789") - 0xA282EAD8) & 0xFFFFFFFF
    assert ((rotated >> 17) | (rotated << 15)) & 0xFFFFFFFF == 0xE3069283


def test_prediction_logs_survive_the_file(tmp_path):
    request = predict_request({"user_id": ["u1", ""], "age": [1.5, float("nan")]}, "shop", names.RECOMMEND)
    golden = prediction_log(request, {"scores": [[0.5], [0.25]]}, model_version=7)
    path = tmp_path / names.EXTRA_ASSETS_DIRECTORY / names.GOLDEN_FILE
    assert write_prediction_logs(path, [prediction_log(request), golden]) == 2
    warm, back = read_prediction_logs(path)
    assert not warm.predict_log.HasField("response")
    assert back == golden
    assert to_array(back.predict_log.response.outputs["scores"]).tolist() == [[0.5], [0.25]]
    assert back.predict_log.response.model_spec.version.value == 7


def test_tensorflow_reads_our_records_and_we_read_its(tmp_path, tensorflow):
    records = [b"", b"a", bytes(range(256)) * 20]
    write_records(tmp_path / "ours", records)
    assert [record.numpy() for record in tensorflow.data.TFRecordDataset(str(tmp_path / "ours"))] == records
    log = prediction_log(predict_request({"x": [1.0]}))
    with tensorflow.io.TFRecordWriter(str(tmp_path / "theirs")) as writer:
        writer.write(log.SerializeToString())
    assert read_prediction_logs(tmp_path / "theirs") == [log]


@pytest.mark.parametrize("damage", ["flip", "cut", "text", "header"])
def test_a_damaged_file_is_refused_by_name(tmp_path, damage):
    path = tmp_path / "golden_requests"
    write_prediction_logs(path, [prediction_log(predict_request({"x": [1.0]}))])
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[20] ^= 1
    elif damage == "cut":
        content = content[:-3]
    elif damage == "header":
        content = content[:5]
    else:
        content = bytearray(b"this is no TFRecord at all")
    path.write_bytes(bytes(content))
    with pytest.raises(RecordError, match="golden_requests"):
        read_prediction_logs(path)


def test_a_record_that_is_no_prediction_log_is_refused(tmp_path):
    write_records(tmp_path / "f", [b"\xff\xff\xff"])
    with pytest.raises(RecordError, match="record 1"):
        read_prediction_logs(tmp_path / "f")


def test_more_warmup_records_than_serving_replays_are_refused(tmp_path):
    log = prediction_log(predict_request({}))
    with pytest.raises(ValueError, match="1001 records"):
        write_prediction_logs(tmp_path / "f", [log] * 1001)
    assert not (tmp_path / "f").exists()
