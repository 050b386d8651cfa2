"""Protocol buffer classes of TensorFlow Serving's API, without TensorFlow.

The descriptors come from ``messages.binpb`` (see `generate`) and live in a pool of their own. TensorFlow
registers the same file names in protobuf's default pool; a private one lets both be imported in
one process, in either order. Messages cross between the two worlds as serialized bytes.
"""

from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory


def _load_pool() -> Any:
    descriptors = descriptor_pb2.FileDescriptorSet()
    descriptors.ParseFromString(Path(__file__).with_name("messages.binpb").read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in descriptors.file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool


_POOL = _load_pool()
if hasattr(message_factory, "GetMessageClass"):
    _message_class = message_factory.GetMessageClass
else:  # protobuf before 4.22
    _factory: Any = message_factory.MessageFactory(_POOL)
    _message_class = _factory.GetPrototype


def message_class(full_name: str) -> Any:
    """Return the class of a message of the contract.

    Args:
        full_name: Such as ``tensorflow.serving.PredictRequest``.

    Returns:
        The generated message class.

    Raises:
        KeyError: The contract holds no message of that name.
    """
    return _message_class(_POOL.FindMessageTypeByName(full_name))


TensorProto: Any = message_class("tensorflow.TensorProto")
SignatureDef: Any = message_class("tensorflow.SignatureDef")
ModelSpec: Any = message_class("tensorflow.serving.ModelSpec")
PredictRequest: Any = message_class("tensorflow.serving.PredictRequest")
PredictResponse: Any = message_class("tensorflow.serving.PredictResponse")
GetModelMetadataRequest: Any = message_class("tensorflow.serving.GetModelMetadataRequest")
GetModelMetadataResponse: Any = message_class("tensorflow.serving.GetModelMetadataResponse")
SignatureDefMap: Any = message_class("tensorflow.serving.SignatureDefMap")
GetModelStatusRequest: Any = message_class("tensorflow.serving.GetModelStatusRequest")
GetModelStatusResponse: Any = message_class("tensorflow.serving.GetModelStatusResponse")
ModelVersionStatus: Any = message_class("tensorflow.serving.ModelVersionStatus")
ReloadConfigRequest: Any = message_class("tensorflow.serving.ReloadConfigRequest")
ReloadConfigResponse: Any = message_class("tensorflow.serving.ReloadConfigResponse")
ModelServerConfig: Any = message_class("tensorflow.serving.ModelServerConfig")
PredictionLog: Any = message_class("tensorflow.serving.PredictionLog")

PREDICT_METHOD = "/tensorflow.serving.PredictionService/Predict"
GET_MODEL_METADATA_METHOD = "/tensorflow.serving.PredictionService/GetModelMetadata"
GET_MODEL_STATUS_METHOD = "/tensorflow.serving.ModelService/GetModelStatus"
RELOAD_CONFIG_METHOD = "/tensorflow.serving.ModelService/HandleReloadConfigRequest"
