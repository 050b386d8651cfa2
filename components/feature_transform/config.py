"""What the feature transform needs to know of the spec."""

from __future__ import annotations

from crossrec.components.features.config import FeaturesConfig
from crossrec.components.features.frozen import Frozen


class FeatureTransformConfig(Frozen):
    """Features and the role columns that travel with the transformed interactions.

    Attributes:
        features: The features of both sides.
        item_column: The item id column of the items.
        interaction_item_column: The item id column of the interactions.
        user_column: The user id column of the interactions.
        timestamp_column: Unix seconds.
        position_column: Place in the list that was shown, from 1; "" if not recorded.
        labels: Label columns, 0 or 1.
        grades: Columns of grades.
        request_column: Id of the list that a row belongs to, kept for grades; "" if it is the user and the time.
        positive_label: The label that makes a row count for an item's frequency.
        item_id_min_count: Items with fewer positives in training share the id of unknown items.
        display: Columns of the items that a bundle returns beside the ids.
    """

    features: FeaturesConfig
    item_column: str
    interaction_item_column: str
    user_column: str
    timestamp_column: str
    position_column: str = ""
    labels: tuple[str, ...]
    grades: tuple[str, ...] = ()
    request_column: str = ""
    positive_label: str
    item_id_min_count: int = 1
    display: tuple[str, ...] = ()
