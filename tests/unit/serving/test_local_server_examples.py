"""Classify, Regress and MultiInference, and what they refuse."""

import grpc
import pytest

from crossrec.serving.contract import messages as wire
from crossrec.serving.contract import names
from crossrec.serving.contract.tfrecord import write_records
from crossrec.serving.local_server.servable import LoadOptions
from tests.unit.serving.make_example_models import save_example_model, save_shared_input_model
from tests.unit.serving.serve_here import serve_here

Code = grpc.StatusCode
SERVICE = "/tensorflow.serving.PredictionService/"
CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"


def message(name):
    return wire.message_class(f"tensorflow.serving.{name}")


@pytest.fixture(scope="module")
def example_path(tensorflow, tmp_path_factory):
    return save_example_model(tmp_path_factory.mktemp("examples"))


@pytest.fixture(scope="module")
def caller(example_path):
    with serve_here(example_path) as server:
        yield server.caller()


def example(age=None, **others):
    made = wire.message_class("tensorflow.Example")()
    for name, value in {**({} if age is None else {"age": age}), **others}.items():
        made.features.feature[name].float_list.value.append(value)
    return made


def fill(target, ages=(20.0, 70.0)):
    target.example_list.examples.extend(example(age) for age in ages)


def request(kind, signature="", name="m", ages=(20.0, 70.0)):
    made = message(kind)()
    if name is not None:
        made.model_spec.name = name
        made.model_spec.signature_name = signature
    if ages is not None:
        fill(made.input, ages)
    return made


def classify(caller, *args, **kwargs):
    made = request("ClassificationRequest", *args, **kwargs)
    return caller.call(SERVICE + "Classify", made, message("ClassificationResponse"))


def regress(caller, *args, **kwargs):
    made = request("RegressionRequest", *args, **kwargs)
    return caller.call(SERVICE + "Regress", made, message("RegressionResponse"))


def infer(caller, *tasks, ages=(20.0, 70.0)):
    made = message("MultiInferenceRequest")()
    for method, signature, *model in tasks:
        task = made.tasks.add(method_name=method)
        task.model_spec.name = model[0] if model else "m"
        task.model_spec.signature_name = signature
    if ages is not None:
        fill(made.input, ages)
    return caller.call(SERVICE + "MultiInference", made, message("MultiInferenceResponse"))


def refused(call, *args, **kwargs):
    with pytest.raises(grpc.RpcError) as caught:
        call(*args, **kwargs)
    return caught.value.code(), caught.value.details()


def classes(result):
    return [[(one.label, round(one.score, 4)) for one in row.classes] for row in result.classifications]


def test_classify(caller):
    response = classify(caller)
    assert classes(response.result) == [[("young", -0.2), ("old", 1.2)], [("young", -0.7), ("old", 1.7)]]
    spec = response.model_spec
    assert (spec.name, spec.signature_name, spec.version.value) == ("m", "serving_default", 1)


def test_classify_with_classes_or_scores_alone(caller):
    assert classes(classify(caller, "classes_only").result) == [[("young", 0), ("old", 0)]] * 2
    assert classes(classify(caller, "scores_only", ages=[50.0]).result) == [[("", -0.5), ("", 1.5)]]


@pytest.mark.parametrize("signature", ["regress", "regress_column"])
def test_regress(caller, signature):
    response = regress(caller, signature)
    assert [round(one.value, 4) for one in response.result.regressions] == [1.2, 1.7]
    assert response.model_spec.signature_name == signature


def test_the_context_is_part_of_every_example(caller):
    made = message("RegressionRequest")()
    made.model_spec.name, made.model_spec.signature_name = "m", "regress"
    listed = made.input.example_list_with_context
    listed.context.CopyFrom(example(30.0))
    # An example's own feature comes after the context's and wins.
    listed.examples.extend([example(), example(80.0), example(other=1.0)])
    response = caller.call(SERVICE + "Regress", made, message("RegressionResponse"))
    assert [round(one.value, 4) for one in response.result.regressions] == [1.3, 1.8, 1.3]


@pytest.mark.parametrize("checks", [False, True])
def test_multi_inference(tensorflow, tmp_path, checks):
    options = LoadOptions(checks_method_names=checks)
    with serve_here(save_shared_input_model(tmp_path), load_options=options) as server:
        caller = server.caller()
        response = infer(caller, (REGRESS, "regress"), (CLASSIFY, ""))
        regression, classification = response.results
        assert [one.value for one in regression.regression_result.regressions] == [20.0, 70.0]
        assert classes(classification.classification_result) == [[("", 0.8), ("", 0.2)], [("", 0.3), ("", 0.7)]]
        assert [one.model_spec.signature_name for one in response.results] == ["regress", "serving_default"]
        assert [one.model_spec.version.value for one in response.results] == [1, 1]
        assert classes(classify(caller).result) == [[("", 0.8), ("", 0.2)], [("", 0.3), ("", 0.7)]]
        assert [one.value for one in regress(caller, "regress", ages=[5.0]).result.regressions] == [5.0]


def test_multi_inference_needs_one_input_tensor(caller):
    # A SavedModel of TensorFlow 2 has a placeholder for each signature.
    assert refused(infer, caller, (CLASSIFY, ""), (REGRESS, "regress")) == (
        Code.INVALID_ARGUMENT,
        "Input tensor must be the same for all Signatures.",
    )


@pytest.mark.parametrize("method", [classify, regress])
def test_what_both_refuse(caller, method):
    assert refused(method, caller, name=None) == (Code.INVALID_ARGUMENT, "Missing ModelSpec")
    assert refused(method, caller, name="") == (Code.INVALID_ARGUMENT, "ModelSpec has no name specified.")
    assert refused(method, caller, name="nope") == (Code.NOT_FOUND, "Servable not found for request: Latest(nope)")
    assert refused(method, caller, "nosig") == (
        Code.INVALID_ARGUMENT,
        "No signature was found with the name: nosig",
    )
    usable = "regress" if method is regress else ""
    assert refused(method, caller, usable, ages=None) == (Code.INVALID_ARGUMENT, "Input is empty.")
    assert refused(method, caller, usable, ages=[]) == (Code.INVALID_ARGUMENT, "Input is empty.")


@pytest.mark.parametrize(
    ("signature", "expected"),
    [
        ("three_outputs", "Expected one or two output Tensors, found 3"),
        ("other_input", "No classification inputs found in SignatureDef: "),
        ("other_outputs", "Expected classification signature outputs to contain at least one of "),
        ("flat_scores", "Expected Tensor shape: [batch_size num_classes] but got [2]"),
        ("wide_scores", "Expected scores Tensor of DT_FLOAT. Got: DT_DOUBLE"),
        ("one_row", "Expected scores output batch size of 2. Got: 1"),
        ("uneven", "Tensors class and score should match in dim_size(1). Got 1 vs. 2"),
    ],
)
def test_signatures_that_do_not_classify(caller, signature, expected):
    code, details = refused(classify, caller, signature)
    assert (code, details[: len(expected)]) == (Code.INVALID_ARGUMENT, expected)


@pytest.mark.parametrize(
    ("signature", "expected"),
    [
        ("three_outputs", "Expected one output Tensor."),
        ("other_input", "No regression inputs found in SignatureDef: "),
        ("scores_only", "No regression outputs found in SignatureDef: "),
        ("regress_matrix", "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got [2,2]"),
        ("regress_one_row", "Input batch size did not match output batch size: 2 vs. 1"),
        ("regress_wide", "Expected output Tensor of DT_FLOAT.  Got: DT_DOUBLE"),
    ],
)
def test_signatures_that_do_not_regress(caller, signature, expected):
    code, details = refused(regress, caller, signature)
    assert (code, details[: len(expected)]) == (Code.INVALID_ARGUMENT, expected)


def test_an_example_that_does_not_parse(caller):
    made = request("RegressionRequest", "regress", ages=None)
    made.input.example_list.examples.add().features.feature["age"].bytes_list.value.append(b"old")
    code, details = refused(caller.call, SERVICE + "Regress", made, message("RegressionResponse"))
    assert code is Code.INVALID_ARGUMENT
    assert "age" in details


def test_what_multi_inference_refuses(caller):
    both = (REGRESS, "regress")
    for tasks, expected in (
        ([], "ModelSpec has no name specified."),
        ([(REGRESS, "regress", "")], "ModelSpec has no name specified."),
        ([both, (REGRESS, "scores_only", "")], "Found ModelSpec with an empty model name."),
        (
            [both, (REGRESS, "regress", "n")],
            "All ModelSpecs in a MultiInferenceRequest must access the same model name.",
        ),
        ([both, both], "Duplicate evaluation of signature: regress"),
        ([both, (REGRESS, "nosig")], "Requested signature not found in model graph: nosig"),
        ([both, (CLASSIFY, "regress_column")], "Expected classification signature outputs to contain at least one of "),
        ([(CLASSIFY, "flat_scores")], "Expected Tensor shape: [batch_size num_classes] but got [2]"),
    ):
        code, details = refused(infer, caller, *tasks)
        assert (code, details[: len(expected)]) == (Code.INVALID_ARGUMENT, expected)
    assert refused(infer, caller, ("tensorflow/serving/predict", "regress")) == (
        Code.UNIMPLEMENTED,
        "Unsupported signature method_name: tensorflow/serving/predict",
    )
    assert refused(infer, caller, both, ages=None) == (Code.INVALID_ARGUMENT, "Input is empty.")


def test_method_names_count_only_where_asked(example_path):
    # A SavedModel of TensorFlow 2 calls every signature "predict".
    with serve_here(example_path, load_options=LoadOptions(checks_method_names=True)) as server:
        checking = server.caller()
        assert refused(classify, checking) == (
            Code.INVALID_ARGUMENT,
            f"Expected classification signature method_name to be {CLASSIFY}. Was: tensorflow/serving/predict",
        )
        assert refused(regress, checking, "regress") == (
            Code.INVALID_ARGUMENT,
            f"Expected regression signature method_name to be {REGRESS}. Was: tensorflow/serving/predict",
        )


@pytest.mark.parametrize(("signature", "state"), [("regress", "AVAILABLE"), ("scores_only", "END")])
def test_warmup_replays_regressions(example_path, tmp_path, signature, state):
    import shutil

    shutil.copytree(example_path / "1", tmp_path / "1")
    with serve_here(tmp_path) as server:
        other = server.caller()
        staging = tmp_path / "staging"
        shutil.copytree(example_path / "1", staging)
        log = wire.PredictionLog()
        log.regress_log.request.CopyFrom(request("RegressionRequest", signature))
        (staging / names.EXTRA_ASSETS_DIRECTORY).mkdir()
        write_records(staging / names.EXTRA_ASSETS_DIRECTORY / names.WARMUP_FILE, [log.SerializeToString()])
        staging.rename(tmp_path / "2")
        other.wait_for({2: state, 1: "END" if state == "AVAILABLE" else "AVAILABLE"})
