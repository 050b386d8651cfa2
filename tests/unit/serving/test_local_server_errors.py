"""Codes and messages, row by row of the table of what TensorFlow Serving 2.16 answers."""

import grpc
import numpy as np
import pytest

from crossrec.serving.contract import messages as wire
from crossrec.serving.contract.messages import TensorProto
from crossrec.serving.contract.tensors import to_tensor_proto
from tests.unit.serving.serve_here import PATIENCE

Code = grpc.StatusCode
X = {"x": np.array([1.0], np.float32)}


def refused(call, *args, **kwargs):
    with pytest.raises(grpc.RpcError) as caught:
        call(*args, **kwargs)
    return caught.value.code(), caught.value.details()


def predict(adder, **spec):
    request = wire.PredictRequest()
    request.model_spec.SetInParent()
    for name, value in spec.items():
        if name == "version":
            request.model_spec.version.value = value
        else:
            setattr(request.model_spec, name, value)
    request.inputs["x"].CopyFrom(to_tensor_proto(X["x"]))
    return adder.call(wire.PREDICT_METHOD, request, wire.PredictResponse)


def test_unknown_model(adder):
    assert refused(predict, adder, name="nope") == (Code.NOT_FOUND, "Servable not found for request: Latest(nope)")


def test_unknown_version(adder):
    assert refused(predict, adder, name="m", version=7) == (
        Code.NOT_FOUND,
        "Servable not found for request: Specific(m, 7)",
    )


def test_empty_name(adder):
    assert refused(predict, adder) == (Code.INVALID_ARGUMENT, "ModelSpec has no name specified.")


@pytest.mark.parametrize(
    ("method", "request_message"),
    [
        (wire.PREDICT_METHOD, wire.PredictRequest()),
        (wire.GET_MODEL_METADATA_METHOD, wire.GetModelMetadataRequest(metadata_field=["signature_def"])),
        (wire.GET_MODEL_STATUS_METHOD, wire.GetModelStatusRequest()),
    ],
)
def test_no_model_spec(adder, method, request_message):
    answer = refused(adder.call, method, request_message, wire.PredictResponse)
    assert answer == (Code.INVALID_ARGUMENT, "Missing ModelSpec")


@pytest.mark.parametrize("label", ["canary", ""])
def test_unknown_or_empty_label(adder, label):
    assert refused(predict, adder, name="m", version_label=label) == (
        Code.INVALID_ARGUMENT,
        f"Unrecognized servable version label: {label}",
    )


def test_unknown_signature(adder):
    assert refused(adder.predict, X, "nosig") == (
        Code.FAILED_PRECONDITION,
        'Serving signature key "nosig" not found.',
    )


def test_missing_input(adder):
    assert refused(adder.predict, {}) == (
        Code.INVALID_ARGUMENT,
        "input size does not match signature: 0!=1 len({}) != len({x}). Sent extra: {}. Missing but required: {x}.",
    )


def test_extra_input(adder):
    assert refused(adder.predict, {**X, "z": X["x"], "b": X["x"]}) == (
        Code.INVALID_ARGUMENT,
        "input size does not match signature: 3!=1 len({b,x,z}) != len({x}). "
        "Sent extra: {b,z}. Missing but required: {}.",
    )


def test_wrong_input_name(adder):
    code, details = refused(adder.predict, {"z": X["x"]})
    assert code is Code.INVALID_ARGUMENT
    assert details.startswith("Signature input alias: x(feed name: serving_default_x:0) not found in request and no ")
    assert "no default value provided. Inputs expected to be in the request {z}" in details


def test_wrong_dtype(adder):
    assert refused(adder.predict, {"x": np.array([1], np.int32)}) == (
        Code.INVALID_ARGUMENT,
        "Expects arg[0] to be float but int32 is provided",
    )


def malformed():
    short = TensorProto(dtype=1, tensor_content=b"\x00\x00\x80")
    short.tensor_shape.dim.add().size = 1
    yield short
    negative = TensorProto(dtype=1, float_val=[1.0])
    negative.tensor_shape.dim.add().size = -1
    yield negative
    yield TensorProto(dtype=0)
    yield TensorProto(dtype=999)
    long_strings = TensorProto(dtype=7, tensor_content=b"\xff\xff\xff\xff\x0fabc")
    long_strings.tensor_shape.dim.add().size = 1
    yield long_strings
    overflow = TensorProto(dtype=1)
    for _ in range(4):
        overflow.tensor_shape.dim.add().size = 2**62
    yield overflow


@pytest.mark.parametrize("proto", list(malformed()))
def test_malformed_tensor(adder, proto):
    assert refused(adder.predict, {"x": proto}) == (Code.INVALID_ARGUMENT, "tensor parsing error: x")
    assert adder.outputs(X)["y"].tolist() == [3.0]


def test_bad_output_filter(adder):
    code, details = refused(adder.predict, X, output_filter=["zzz"])
    assert code is Code.INVALID_ARGUMENT
    assert details == "output tensor alias not found in signature: zzz Outputs expected to be in the set {version,y}."
    assert refused(adder.predict, X, output_filter=["y", "y"]) == (
        Code.INVALID_ARGUMENT,
        "duplicate output tensor alias: y",
    )


def test_output_filter_chooses(adder):
    assert set(adder.predict(X, output_filter=["y"]).outputs) == {"y"}
    assert set(adder.predict(X).outputs) == {"y", "version"}


def test_shape_is_left_to_the_ops(adder):
    # x is declared [None]; a matrix passes, since adding takes any shape.
    assert adder.outputs({"x": np.ones((2, 2), np.float32)})["y"].tolist() == [[3.0, 3.0], [3.0, 3.0]]
    good, bad = np.ones((1, 3), np.float32), np.ones((1, 4), np.float32)
    code, details = refused(adder.predict, {"a": good, "b": bad}, "matrix")
    assert code is Code.INVALID_ARGUMENT
    assert "Matrix size-incompatible" in details


def status(adder, **spec):
    request = wire.GetModelStatusRequest()
    request.model_spec.name = spec["name"]
    if "version" in spec:
        request.model_spec.version.value = spec["version"]
    return adder.call(wire.GET_MODEL_STATUS_METHOD, request, wire.GetModelStatusResponse)


def test_status_of_the_unknown(adder):
    assert refused(status, adder, name="m", version=9) == (Code.NOT_FOUND, "Could not find version 9 of model m")
    assert refused(status, adder, name="nope") == (Code.NOT_FOUND, "Could not find any versions of model nope")


def metadata(adder, *fields, name="m"):
    request = wire.GetModelMetadataRequest(metadata_field=fields)
    request.model_spec.name = name
    return adder.call(wire.GET_MODEL_METADATA_METHOD, request, wire.GetModelMetadataResponse)


def test_metadata(adder):
    response = metadata(adder, "signature_def")
    assert response.model_spec.version.value == 2
    packed = response.metadata["signature_def"]
    assert packed.type_url == "type.googleapis.com/tensorflow.serving.SignatureDefMap"
    signature = wire.SignatureDefMap.FromString(packed.value).signature_def["serving_default"]
    assert signature.inputs["x"].name == "serving_default_x:0"
    assert signature.method_name == "tensorflow/serving/predict"


def test_metadata_refusals(adder):
    assert refused(metadata, adder)[0] is Code.INVALID_ARGUMENT
    assert refused(metadata, adder, "assets")[0] is Code.INVALID_ARGUMENT
    assert refused(metadata, adder, "signature_def", name="nope") == (
        Code.NOT_FOUND,
        "Servable not found for request: Latest(nope)",
    )


def test_response_names_its_model(adder):
    spec = adder.predict(X).model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("m", 2, "serving_default")


def test_outputs_come_in_typed_fields(adder):
    # What tensor.AsProtoField of TensorFlow writes, field by field.
    import tensorflow as tf

    outputs = adder.predict({"x": np.array([0.0, 1.0, 7.0], np.float32)}, "types").outputs
    assert len(outputs) == 16
    for name, proto in outputs.items():
        assert not proto.tensor_content, name
        theirs = tf.make_ndarray(type(tf.make_tensor_proto(0)).FromString(proto.SerializeToString()))
        if name == "string":
            assert list(proto.string_val) == theirs.tolist()
        else:
            assert theirs.tolist() == ([False, True, True] if name == "bool" else [0, 1, 7]), name
            assert theirs.dtype == name


def test_typed_inputs_are_read_as_tensorflow_reads_them(adder):
    repeated = TensorProto(dtype=1, float_val=[1.0, 5.0])
    repeated.tensor_shape.dim.add().size = 4
    assert adder.outputs({"x": repeated})["y"].tolist() == [3.0, 7.0, 7.0, 7.0]
    too_many = TensorProto(dtype=1, float_val=[1.0, 5.0])
    too_many.tensor_shape.dim.add().size = 1
    assert adder.outputs({"x": too_many})["y"].tolist() == [3.0]
    no_rank = TensorProto(dtype=1, float_val=[1.0])
    no_rank.tensor_shape.unknown_rank = True
    assert adder.outputs({"x": no_rank})["y"].tolist() == 3.0


@pytest.mark.filterwarnings("ignore:Unexpected end-group tag")
def test_malformed_bytes_do_not_hurt_the_server(adder):
    call = adder.channel.unary_unary(wire.PREDICT_METHOD)
    rng = np.random.default_rng(0)
    good = wire.PredictRequest()
    good.model_spec.name = "m"
    good.inputs["x"].CopyFrom(to_tensor_proto(X["x"]))
    allowed = {Code.INVALID_ARGUMENT, Code.NOT_FOUND, Code.FAILED_PRECONDITION, Code.INTERNAL}
    for _ in range(200):
        content = bytearray(good.SerializeToString())
        for place in rng.integers(0, len(content), rng.integers(1, 6)):
            content[place] = rng.integers(0, 256)
        try:
            call(bytes(content), timeout=PATIENCE)
        except grpc.RpcError as error:
            assert error.code() in allowed, (bytes(content), error)
    assert adder.outputs(X)["y"].tolist() == [3.0]
