"""Which encoders a spec needs, and what each may learn from."""

from __future__ import annotations

from pydantic import Field

from crossrec.components.features.config import FeaturesConfig, Text
from crossrec.components.features.frozen import Frozen
from crossrec.components.text.config import EncoderTrainingConfig, TextEncoderConfig


class EncoderUse(Frozen):
    """One encoder and the raw columns whose texts it encodes.

    Attributes:
        encoder: Its configuration.
        field: Where in the spec it stands first, for messages.
        query: Columns of the interactions.
        item: Columns of the items.
    """

    encoder: TextEncoderConfig
    field: str
    query: tuple[str, ...] = ()
    item: tuple[str, ...] = ()

    @property
    def pretrained(self) -> tuple[tuple[str, str], ...]:
        """Field in the spec and directory of each pretrained model: the one to start from, and the teacher."""
        named = (("path", self.encoder.path), ("teacher", self.encoder.teacher))
        return tuple((f"{self.field}.{name}", path) for name, path in named if path)

    @property
    def training(self) -> EncoderTrainingConfig:
        """How it learns, if it does."""
        return self.encoder.training or EncoderTrainingConfig()

    @property
    def learns_pairs(self) -> bool:
        """Whether it learns from the project's pairs: if asked to, and a small one without a teacher in any case."""
        return self.encoder.training is not None or not (self.encoder.path or self.encoder.teacher)


class TextEncodersConfig(Frozen):
    """What the step needs to know of the spec.

    Attributes:
        uses: The encoders.
        label: The label that makes a row a positive.
        item_column: The item id column of the items.
        interaction_item_column: The item id column of the interactions.
        user_column: The user id column of the interactions.
        timestamp_column: Unix seconds.
    """

    uses: tuple[EncoderUse, ...] = Field(min_length=1)
    label: str
    item_column: str
    interaction_item_column: str
    user_column: str
    timestamp_column: str


def encoder_uses(features: FeaturesConfig) -> tuple[EncoderUse, ...]:
    """The different encoders of the features, with the columns of each, in the order of the spec.

    Args:
        features: All features.
    """
    uses: dict[str, EncoderUse] = {}
    for name, side, feature in features.items():
        if not isinstance(feature, Text) or feature.encoder is None:
            continue
        use = uses.setdefault(
            feature.encoder.key, EncoderUse(encoder=feature.encoder, field=f"features.{side}.{name}.encoder")
        )
        columns = dict.fromkeys((*getattr(use, side), feature.column))
        uses[feature.encoder.key] = use.model_copy(update={side: tuple(columns)})
    return tuple(uses.values())
