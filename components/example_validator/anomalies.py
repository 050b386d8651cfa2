"""What TensorFlow Data Validation found, sorted into what stops a run and what is only worth a note."""

from __future__ import annotations

from dataclasses import dataclass

from tensorflow_metadata.proto.v0 import anomalies_pb2

# Where the schema was inferred from the training split, these only say that later data differ a little: a
# new value gets the id of unknown values, a missing one the id of missing values.
_DRIFT = frozenset(
    {
        "ENUM_TYPE_UNEXPECTED_STRING_VALUES",
        "FEATURE_TYPE_LOW_FRACTION_PRESENT",
        "FEATURE_TYPE_LOW_NUMBER_PRESENT",
        "FEATURE_TYPE_LOW_NUMBER_VALUES",
        "FEATURE_TYPE_HIGH_NUMBER_VALUES",
        "INVALID_FEATURE_SHAPE",
        "INVALID_SCHEMA_SPECIFICATION",
        "INVALID_DOMAIN_SPECIFICATION",
    }
)


@dataclass(frozen=True)
class Finding:
    """One anomaly of one column in one split."""

    split: str
    column: str
    description: str
    stops: bool

    def __str__(self) -> str:
        return f"{self.split}: column {self.column!r}: {self.description}"


def findings(split: str, anomalies: anomalies_pb2.Anomalies, schema_is_inferred: bool) -> list[Finding]:
    """The anomalies of one split.

    Args:
        split: Name of the split.
        anomalies: What ``tfdv.validate_statistics`` gave.
        schema_is_inferred: Whether the schema was inferred; a schema that the user wrote is strict.
    """
    out = []
    for column, info in sorted(anomalies.anomaly_info.items()):
        kinds = {anomalies_pb2.AnomalyInfo.Type.Name(reason.type) for reason in info.reason}
        stops = not (schema_is_inferred and kinds <= _DRIFT)
        out.append(Finding(split, column, info.description.rstrip("."), stops))
    if anomalies.HasField("dataset_anomaly_info"):
        out.append(Finding(split, "(all)", anomalies.dataset_anomaly_info.description.rstrip("."), stops=True))
    if anomalies.data_missing:
        out.append(Finding(split, "(all)", "there are no rows", stops=True))
    return out
