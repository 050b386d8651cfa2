"""What of a release each node gets where a run starts warm."""

import pytest

from crossrec.pipeline.dag import build
from crossrec.pipeline.locations import Locations
from crossrec.pipeline.spec.load import parse_spec
from tests.end_to_end.marketplace import spec_content

TRAINERS = {"RetrievalTrainer", "RankingTrainer"}
TEXTS = {"TextEncoder", "TextEmbedder"}
VECTOR = {"type": "text", "column": "title", "encoder": {}}


@pytest.mark.parametrize(
    ("section", "readers"),
    [
        (None, set()),
        ({}, TRAINERS | TEXTS),
        ({"epochs": 2, "text_encoders": "keep"}, TRAINERS | TEXTS),
        ({"text_encoders": "train"}, TRAINERS),
    ],
)
def test_encoders_of_texts_are_kept_unless_the_spec_says_otherwise(section, readers):
    changes = {"features.item.title_vector": VECTOR, **({} if section is None else {"warm_start": section})}
    spec = parse_spec(spec_content(changes))
    nodes = {node.id: node for node in build(spec, Locations("data", "root", data_is_here=False)).components}
    assert set(nodes) >= TEXTS
    assert {name for name, node in nodes.items() if "previous_model" in node.inputs} == readers
    assert ("PreviousModel" in nodes) == bool(readers)
