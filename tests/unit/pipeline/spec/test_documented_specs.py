"""The YAML in the documents beside the parts is valid, laid over the marketplace's spec."""

import re
from pathlib import Path

import pytest
import yaml

from crossrec.components.modeling import heads, interactions, interest
from crossrec.pipeline.spec.load import EXAMPLES, parse_spec

ROOT = Path(__file__).resolve().parents[4]
DOCUMENTS = sorted([*ROOT.glob("components/**/README.md"), *ROOT.glob("serving/**/README.md")])
SPEC = yaml.safe_load((EXAMPLES / "marketplace" / "spec.yaml").read_text(encoding="utf-8"))


def blocks(document):
    return re.findall(r"^```yaml\n(.*?)^```", document.read_text(encoding="utf-8"), re.M | re.S)


def overlaid(base, changes):
    """The base with the changes, mapping by mapping."""
    if not isinstance(changes, dict) or not isinstance(base, dict):
        return changes
    return {**base, **{key: overlaid(base.get(key), value) for key, value in changes.items()}}


@pytest.mark.parametrize(
    "block", [block for document in DOCUMENTS for block in blocks(document) if set(yaml.safe_load(block)) <= set(SPEC)]
)
def test_a_documented_section_is_a_valid_one(block):
    changes = yaml.safe_load(block)
    spec = parse_spec(overlaid(SPEC, changes))
    assert set(changes) <= spec.model_fields_set


@pytest.mark.parametrize("layers", [interactions.LAYERS, interest.LAYERS, heads.LAYERS])
def test_every_layer_is_documented(layers):
    text = (ROOT / "components" / "modeling" / "README.md").read_text(encoding="utf-8")
    for layer in layers:
        assert f"`{layer.CONFIG.model_fields['type'].default}`" in text
