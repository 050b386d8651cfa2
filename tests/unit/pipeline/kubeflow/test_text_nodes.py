"""The nodes of text encoders on Kubeflow: in the graph where a feature has one, with a cache that workers reach."""

import copy

import pytest

from crossrec.pipeline.kubeflow.compile import compile_pipeline
from crossrec.pipeline.spec.load import parse_spec
from tests.unit.pipeline.kubeflow.compiled_marketplace import SECTION, container, spec_content, task

NODES = {"TextEncoder", "TextEmbedder"}
TEXTS = {"asked": ("query", {"column": "query", "clusters": 9}), "named": ("item", {"column": "title"})}


def compiled(section, path="", **texts):
    content = copy.deepcopy(spec_content(section))
    for side in ("query", "item"):
        features = content["features"][side]
        content["features"][side] = {name: f for name, f in features.items() if "encoder" not in f}
    for name, (side, feature) in texts.items():
        content["features"][side][name] = {"type": "text", "encoder": {"path": path}, **feature}
    kept = {*content["features"]["query"], *content["features"]["item"]}
    for tower in (content["retrieval"]["query"], content["retrieval"]["item"], content["ranking"]):
        tower["features"] = [name for name in tower["features"] if name in kept]
    explicit = content["crosses"]["explicit"]
    content["crosses"]["explicit"] = [cross for cross in explicit if kept.issuperset(cross["inputs"])]
    return compile_pipeline(parse_spec(content)).spec


def settings(spec):
    given = container(spec, "TextEmbedder")["args"]
    return [value for name, value in zip(given, given[1:]) if name == "--set"]


def test_without_encoders_there_are_no_such_nodes():
    assert not NODES & set(compiled(SECTION)["root"]["dag"]["tasks"])


@pytest.fixture(scope="module")
def spec():
    section = {**SECTION, "resources": {"TextEmbedder": {"cpu": 4, "memory_gb": 16}}}
    return compiled(section, "/mnt/crossrec/models/minilm", **TEXTS)


def test_the_copies_go_to_the_transform_and_nowhere_else(spec):
    readers = {
        (name, artifact["taskOutputArtifact"]["outputArtifactKey"])
        for name, entry in spec["root"]["dag"]["tasks"].items()
        for artifact in entry["inputs"].get("artifacts", {}).values()
        if artifact["taskOutputArtifact"]["producerTask"] in NODES
    }
    assert readers == {
        ("TextEmbedder", "text_encoders"),
        ("FeatureTransform", "embedded_interactions"),
        ("FeatureTransform", "embedded_items"),
        ("ServingBundle", "text_encoders"),
        ("ServingBundle", "text_embeddings"),
    }
    for node in ("TextEncoder", "TextEmbedder"):
        validators = {"ItemsExampleValidator", "InteractionsExampleValidator"}
        assert validators <= set(task(spec, node)["dependentTasks"])


def test_resources_by_node_and_a_cache_on_the_volume_of_the_root(spec):
    assert container(spec, "TextEmbedder")["resources"] == {"cpuLimit": 4.0, "memoryLimit": 16.0}
    assert settings(spec) == ["cache_root={root}/cache/text_embeddings"]


def test_workers_elsewhere_have_the_cache_beside_the_artifacts():
    beam = {"TextEmbedder": ["--runner=DataflowRunner", "--project=shop"]}
    spec = compiled({**SECTION, "beam": beam}, **TEXTS)
    assert settings(spec) == []
    given = task(spec, "TextEmbedder")["inputs"]["parameters"]["cache_root"]
    assert given["runtimeValue"]["constant"] == "gs://bucket/runs/cache/text_embeddings"
