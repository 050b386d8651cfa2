"""One mistake at a time in a spec that works: the error names the field, the value and the mend."""

import copy

import pytest
import yaml

from crossrec.pipeline.spec.errors import SpecError
from crossrec.pipeline.spec.load import EXAMPLES, load_spec, parse_spec

WORKING = yaml.safe_load((EXAMPLES / "marketplace" / "spec.yaml").read_text(encoding="utf-8"))
WORKING["crosses"]["explicit"] = [{"inputs": ["user_segment", "category"]}, {"inputs": ["device", "price_band"]}]
GONE = object()
QUERY, ITEM = "features.query.", "features.item."

# path of the change, new value, then what the message must hold: the field, and the rest.
MISTAKES = [
    ("name", "Market Place", "name: 'Market Place'", ["pattern"]),
    ("naame", "x", "naame", ["unknown key", "Did you mean 'name'?"]),
    ("data", GONE, "data: missing", ["Add it"]),
    # data
    ("data.interactions", "clicks.csv", "data.interactions: 'clicks.csv'", ["give keys and values"]),
    ("data.interactions.user", GONE, "data.interactions.user: missing", ["Add it"]),
    ("data.interactions.usr", "x", "data.interactions.usr", ["Did you mean 'user'?"]),
    ("data.interactions.labels", "clicked", "data.interactions.labels: 'clicked'", ["give a list"]),
    ("data.interactions.position", "clicked", "data.interactions", ["'clicked'", "its own column"]),
    (
        "data.interactions.filters",
        [{"column": "a", "op": "above"}],
        "data.interactions.filters.0.op: 'above'",
        ["'greater'"],
    ),
    ("data.split", {"validation": 0.9, "test": 0.2}, "data.split", ["0.9", "0.2", "less than 1"]),
    ("data.split", {"validation": 0.1}, "data.split", ["0.1", "Give either"]),
    ("data.split.test", 1.5, "data.split.test", ["1.5", "between 0 and 1"]),
    ("data.history", GONE, QUERY + "recent_items", ["Add 'data.history"]),
    ("data.history.label", "seen", "data", ["'seen'", "Name one of these"]),
    # index
    ("index", {"type": "fast"}, "index.type: 'fast'", ["'partitioned'"]),
    ("index", {"recall_target": 1.5}, "index.recall_target: 1.5", ["1"]),
    ("index", {"filters": ["price"]}, "index.filters: 'price'", ["holds float", "one text"]),
    ("index", {"filters": ["tags"]}, "index.filters: 'tags'", ["holds strings"]),
    (
        "features.query.asked",
        {"type": "text", "column": "query", "encoder": {"path": "models/minilm"}},
        QUERY + "asked.encoder.path: 'models/minilm'",
        ["Write it from '/' on"],
    ),
    (
        "features.item.named",
        {"type": "text", "column": "title", "encoder": {"teacher": "minilm"}},
        ITEM + "named.encoder.teacher: 'minilm'",
        ["Write it from '/' on"],
    ),
    # validation
    ("validation", {"schema": "s.pbtxt"}, "validation.schema", ["interactions_schema", "items_schema"]),
    # features
    ("features", GONE, "features: missing", ["Add it"]),
    ("features.item", {}, "features.item: {}", ["at least 1"]),
    ("features.query.device", "categorical", QUERY + "device: 'categorical'", ["give keys and values"]),
    ("features.query.device.type", GONE, QUERY + "device", ["'type' is missing", "categorical, numeric, "]),
    ("features.query.device.type", "category", QUERY + "device", ["'category'", "'categorical'"]),
    ("features.query.device.hashbuckets", 3, QUERY + "device.hashbuckets", ["Did you mean 'hash_buckets'?"]),
    ("features.query.device.hash_buckets", 1, QUERY + "device.hash_buckets: 1", ["greater than or equal to 2"]),
    ("features.query.device.vocabulary", {"maxsize": 9}, QUERY + "device.vocabulary.maxsize", ["'max_size'"]),
    ("features.query.price_max.impute", "mode", QUERY + "price_max.impute: 'mode'", ["'mean'", " or ", "number"]),
    ("features.query.price_max.impute", float("nan"), QUERY + "price_max.impute: nan", ["finite number"]),
    ("features.query.price_max.clip", [3, 1], QUERY + "price_max", ["[3.0, 1.0]", "low < high"]),
    ("features.query.numeric", {"type": "numeric", "clip": [3, 1]}, QUERY + "numeric: clip", ["low < high"]),
    ("features.query.part_of_day.part", "year", QUERY + "part_of_day.part: 'year'", ["'month'"]),
    ("features.query.recent_items.max_length", 90, QUERY + "recent_items.max_length: 90", ["Raise that one or lower"]),
    ("features.query.recent_items.column", "last", QUERY + "recent_items.column: 'last'", ["Leave 'column' out"]),
    (
        "features.query.x",
        {"type": "categorical", "column": "item_id"},
        QUERY + "x.column: 'item_id'",
        ["another column"],
    ),
    ("features.query.x", {"type": "buckets", "column": "clicked"}, QUERY + "x.column: 'clicked'", ["another column"]),
    ("features.query.x", {"type": "buckets", "column": "position"}, QUERY + "x.column: 'position'", ["another column"]),
    ("features.query.x", {"type": "numeric", "column": "timestamp"}, "features: query.x", ["'timestamp'", "same kind"]),
    ("features.query.user_id", {"type": "numeric"}, QUERY + "user_id.type: 'numeric'", ["Use a type for string"]),
    (
        "features.query.x",
        {"type": "categorical", "column": "Customer ID"},
        QUERY + "x.column: 'Customer ID'",
        ["Rename"],
    ),
    ("features.query.exclude_items", {"type": "categorical"}, QUERY + "exclude_items.column", ["Rename the column"]),
    (
        "features.query.x",
        {"type": "categorical", "column": "interaction"},
        QUERY + "x.column: 'interaction'",
        ["Rename"],
    ),
    (
        "features.item.x",
        {"type": "categorical", "column": "recent_items"},
        ITEM + "x.column: 'recent_items'",
        ["Rename"],
    ),
    ("features.item.item_id.type", "text", ITEM + "item_id.type: 'text'", ["Use 'categorical'"]),
    ("features.item.device", {"type": "categorical"}, "features: names ['device']", ["Rename one"]),
    ("features.item.a b", {"type": "categorical"}, "features: item: 'a b'", ["letters, digits", "'column: a b'"]),
    ("features.item.x", {"type": "recent_items"}, "features: item.x", ["Move it to the query side"]),
    # crosses
    ("crosses.explicit", {"inputs": ["device"]}, "crosses.explicit: ", ["give a list"]),
    ("crosses.explicit.0.inputs", ["device"], "crosses.explicit.0.inputs: ['device']", ["at least 2"]),
    (
        "crosses.explicit.0.inputs",
        ["device", "device"],
        "crosses.explicit.0",
        ["['device', 'device']", "Name each input once"],
    ),
    ("crosses.explicit.0.inputs", ["device", "colour"], "crosses.explicit.0.inputs: 'colour'", ["Known: "]),
    ("crosses.explicit.0.inputs", ["device", "price"], "crosses.explicit.0.inputs: 'price'", ["type 'buckets'"]),
    (
        "crosses.explicit.0.inputs",
        ["title", "query", "interests"],
        "crosses.explicit.0.inputs",
        ["384", "Lower 'max_length'"],
    ),
    (
        "crosses.explicit.0.inputs",
        ["device", "price_band"],
        "crosses.explicit.0.name: 'device_x_price_band'",
        ["its own name"],
    ),
    ("crosses.explicit.0.type", "hash", "crosses.explicit.0: type 'hash' is unknown", ["'hashed'", "vocabulary, "]),
    ("crosses.explicit.0.pairs", "some", "crosses.explicit.0.pairs: 'some'", ["'all' or 'any'"]),
    ("crosses.explicit.0.granularities", [4], "crosses.explicit.0.granularities: [4]", ["Leave it out"]),
    ("crosses.explicit.0.buckets", 1, "crosses.explicit.0.buckets: 1", ["greater than or equal to 2"]),
    ("crosses.explicit.0.input", ["device"], "crosses.explicit.0.input", ["Did you mean 'inputs'?"]),
    # retrieval
    ("retrieval.query.features", [], "retrieval.query.features: []", ["at least 1"]),
    ("retrieval.query.features", ["device", "colour"], "retrieval.query.features: 'colour'", ["Known: "]),
    ("retrieval.query.features", ["device", "price"], "retrieval.query.features: 'price'", ["other side"]),
    ("retrieval.query.features", ["device", "device"], "retrieval.query.features: 'device'", ["Name it once"]),
    ("retrieval.query.features", ["user_segment_x_category"], "retrieval.query.features: cross", ["ranking only"]),
    ("retrieval.item.features", ["device"], "retrieval.item.features: 'device'", ["item side only"]),
    ("retrieval.item.hidden_layers", [0], "retrieval.item.hidden_layers.0: 0", ["greater than 0"]),
    ("retrieval.label", "liked", "retrieval.label: 'liked'", ["Known: clicked, purchased"]),
    ("retrieval.loss", {"temprature": 1}, "retrieval.loss.temprature", ["Did you mean 'temperature'?"]),
    ("retrieval.training", {"epochs": 1.5}, "retrieval.training.epochs: 1.5", ["valid integer"]),
    ("retrieval.training", {"learning_rate": 0}, "retrieval.training.learning_rate: 0", ["greater than 0"]),
    # ranking
    ("ranking.features", ["device", "colour"], "ranking.features: 'colour'", ["Known: "]),
    ("ranking.features", ["device", "user_segment_x_category"], "ranking.features: 'user_segment", ["ranking.crosses"]),
    ("ranking.crosses", ["device_x_colour"], "ranking.crosses: 'device_x_colour'", ["Known: "]),
    ("ranking.tasks", [], "ranking.tasks: []", ["at least 1"]),
    ("ranking.tasks.0.label", "liked", "ranking.tasks.0.label: 'liked'", ["Known: clicked, purchased"]),
    ("ranking.tasks.1.name", "click", "ranking: two tasks", ["['click', 'click']", "Name each its own"]),
    ("ranking.interactions", [], "ranking.interactions: []", ["at least 1"]),
    ("ranking.interactions", {"type": "mlp"}, "ranking.interactions: ", ["give a list"]),
    ("ranking.interactions.0.type", GONE, "ranking.interactions.0: 'type' is missing", ["mlp, fm, "]),
    (
        "ranking.interactions",
        [{"type": "mlp"}, {"type": "dcn_v3"}],
        "ranking.interactions.1: type 'dcn_v3' is unknown",
        ["Did you mean 'dcn_v2'?", "Known: mlp, fm, "],
    ),
    (
        "ranking.interactions.0.crosslayers",
        2,
        "ranking.interactions.0.crosslayers: unknown key",
        ["Did you mean 'cross_layers'?"],
    ),
    (
        "ranking.interactions",
        [{"type": "xdeepfm", "deep": {"layers": [8, 0]}}],
        "ranking.interactions.0.deep.layers.1: 0",
        ["greater than 0"],
    ),
    (
        "ranking.interactions",
        [{"type": "dcn_v2", "mixture": {"experts": 4}}],
        "ranking.interactions.0: 'mixture' is of low-rank experts",
        ["'low_rank: 32'"],
    ),
    (
        "ranking.heads",
        {"type": "moe"},
        "ranking.heads: type 'moe' is unknown",
        ["Did you mean 'mmoe'? Known: shared_bottom, mmoe, ple"],
    ),
    ("ranking.heads", {"type": "mmoe", "expert": 3}, "ranking.heads.expert", ["Did you mean 'experts'?"]),
    ("ranking.interest", {"type": "din"}, "ranking.interest: ", ["give a list"]),
    ("ranking.interest", [{"sequence": "recent_items"}], "ranking.interest.0: 'type' is missing", ["din, transformer"]),
    ("ranking.interest", [{"type": "din"}], "ranking.interest.0.sequence: missing", ["Add it"]),
    (
        "ranking.interest",
        [{"type": "din", "sequence": "last_items"}],
        "ranking.interest.0.sequence: 'last_items'",
        ["is no query feature. Known: recent_items"],
    ),
    (
        "ranking.interest",
        [{"type": "lstm", "sequence": "interests"}],
        "ranking.interest.0.sequence: 'interests'",
        ["of type 'categorical', not 'recent_items'. Known: recent_items"],
    ),
    (
        "ranking.interest",
        [{"type": "average", "sequence": "recent_items"}] * 2 + [{"type": "gru", "sequence": "recent_items"}],
        "ranking.interest.2: type 'gru' is unknown",
        ["Known: din, transformer, lstm, average"],
    ),
    (
        "ranking.interest",
        [{"type": "din", "sequence": "recent_items", "features": ["category", "colour"]}],
        "ranking.interest.0.features: 'colour'",
        ["is no item feature. Known: item_id, title"],
    ),
    (
        "ranking.interest",
        [{"type": "din", "sequence": "recent_items", "features": ["device"]}],
        "ranking.interest.0.features: 'device'",
        ["is no item feature"],
    ),
    (
        "ranking.interest",
        [{"type": "din", "sequence": "recent_items", "features": ["brand", "brand"]}],
        "ranking.interest.0.features: 'brand'",
        ["Name it once"],
    ),
    ("ranking.negatives", {"retrieved": -1}, "ranking.negatives.retrieved: -1", ["greater than or equal to 0"]),
    # evaluation
    ("evaluation.k", [0], "evaluation: k", ["0", "begin at 1"]),
    ("evaluation.k", [10, 50], "evaluation.k: 50", ["Raise list_size or lower k"]),
    ("evaluation.group_by", "session", "evaluation.group_by: 'session'", ["'user' or 'request'"]),
    ("data.interactions.request", GONE, "evaluation.group_by: 'request'", ["Name the column, or use 'user'"]),
    ("evaluation.slices", ["price_max"], "evaluation.slices: 'price_max'", ["Known: "]),
    (
        "evaluation.thresholds.0.metric",
        "end_to_end/ndgc@10",
        "evaluation.thresholds.0.metric",
        ["'end_to_end/ndcg@10'?"],
    ),
    ("evaluation.thresholds", [{"metric": "end_to_end/mrr@10"}], "evaluation.thresholds.0", ["Give minimum, maximum"]),
    ("evaluation.thresholds", [{"metric": "end_to_end/mrr@7", "minimum": 0}], "evaluation", ["Add the cut-off to k"]),
    # serving
    ("serving.model_name", "a/b", "serving.model_name: 'a/b'", ["pattern"]),
    ("serving.list_size", "many", "serving.list_size: 'many'", ["valid integer"]),
    ("serving.candidates", 5, "serving.candidates: 5", ["at least as many"]),
    ("serving.display", "title", "serving.display: 'title'", ["give a list"]),
    ("serving.display", ["price"], "serving.display: 'price'", ["Only text columns"]),
    ("serving.display", ["scores"], "serving.display: 'scores'", ["Rename the column"]),
    # beam
    ("beam", {"Publisher": ["--x"]}, "beam.Publisher: no node of that name runs Beam", ["all, ItemsExampleGen"]),
    ("beam", {"all": ["runner"]}, "beam.all.0: 'runner'", ["pattern '^--"]),
    ("beam", {"all": "--runner=DirectRunner"}, "beam.all: '--runner=DirectRunner'", ["give a list"]),
]


def change(path, value):
    """The working spec with one value changed."""
    content = copy.deepcopy(WORKING)
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    place = content
    for part in parents:
        place = place[part]
    if value is GONE:
        del place[last]
    else:
        place[last] = value
    return content


@pytest.mark.parametrize(
    ("path", "value", "field", "rest"), MISTAKES, ids=[f"{m[0]}-{n}" for n, m in enumerate(MISTAKES)]
)
def test_a_mistake_is_told_with_field_value_and_mend(path, value, field, rest):
    with pytest.raises(SpecError) as error:
        parse_spec(change(path, value), "my spec")
    matching = [problem for problem in error.value.problems if field in problem]
    assert matching, error.value.problems
    for part in rest:
        assert any(part in problem for problem in matching), matching
    assert str(error.value).startswith("my spec: ")


def test_all_problems_are_told_at_once():
    content = change("serving.candidates", 5)
    content["retrieval"]["label"] = "liked"
    content["ranking"]["features"].append("colour")
    with pytest.raises(SpecError) as error:
        parse_spec(content)
    assert len(error.value.problems) == 3 and "3 problems" in str(error.value)
    assert len(str(error.value).splitlines()) == 4


@pytest.mark.parametrize("interaction", [{"type": "dcn_v3"}, {"layers": [3]}, "mlp"])
def test_a_wrong_entry_of_a_list_is_one_problem(interaction):
    with pytest.raises(SpecError) as error:
        parse_spec(change("ranking.interactions", [interaction]), "my spec")
    assert len(error.value.problems) == 1 and error.value.problems[0].startswith("ranking.interactions.0: ")


@pytest.mark.parametrize("example", sorted(path.parent.name for path in EXAMPLES.glob("*/spec.yaml")))
def test_every_example_is_a_spec(example):
    by_name = load_spec(example)
    assert by_name == load_spec(EXAMPLES / example / "spec.yaml")
    assert parse_spec(by_name.model_dump(mode="json", exclude_none=True)) == by_name


def test_a_spec_is_frozen():
    spec = load_spec("marketplace")
    for target, field in ((spec, "name"), (spec.serving, "list_size"), (spec.features.query["device"], "column")):
        with pytest.raises(ValueError, match="frozen"):
            setattr(target, field, "other")


def test_labels_of_a_table_without_labels():
    content = change("data.interactions.labels", GONE)
    content["data"]["history"].pop("label")
    content["retrieval"].pop("label")
    content["ranking"]["tasks"] = [{"name": "interaction"}]
    spec = parse_spec(content)
    assert spec.labels == ("interaction",) and spec.positive_label == "interaction"
    content["ranking"]["negatives"] = {"retrieved": 0}
    with pytest.raises(SpecError, match=r"ranking\.negatives\.retrieved: 0, .* Give at least 1"):
        parse_spec(content)


def test_an_interest_needs_features_of_the_item():
    content = change("ranking.interest", [{"type": "din", "sequence": "recent_items"}])
    assert parse_spec(content).ranking.interest[0].features is None
    content["ranking"]["features"] = ["device", "title", "tags", "price"]
    with pytest.raises(SpecError, match=r"ranking\.interest\.0\.features: left out.*\['device'.* as in \[item_id\]"):
        parse_spec(content)
    content["ranking"]["interest"][0]["features"] = ["title", "price"]
    assert parse_spec(content).ranking.interest[0].features == ("title", "price")


def test_the_sequence_of_an_interest_is_asked_for_where_there_is_none():
    content = change("features.query.recent_items", GONE)
    content["ranking"]["interest"] = [{"type": "din", "sequence": "recent_items"}]
    with pytest.raises(SpecError, match=r"interest\.0\.sequence: 'recent_items' .*add a query feature of type"):
        parse_spec(content)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name: a\nname: b\n", r"key 'name' is given twice.*line 2"),
        ("data:\n  split:\n    test: 1\n    test: 2\n", r"key 'test' is given twice.*line 4"),
        ("name: [a\n", r"is not YAML: .*line 2"),
        ("? {a: b}\n: c\n", r"Mend"),
        ("- a\n- b\n", r"holds list, not keys and values\. Begin with 'name:'"),
        ("", r"holds NoneType"),
        ("just words", r"holds str"),
    ],
)
def test_a_file_that_is_no_spec(tmp_path, text, complaint):
    path = tmp_path / "spec.yaml"
    path.write_text(text)
    with pytest.raises(SpecError, match=complaint) as error:
        load_spec(path)
    assert str(path) in str(error.value)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(SpecError, match=r"no-such\.yaml: 1 problem\n.*no such file.*marketplace"):
        load_spec("no-such.yaml")
    with pytest.raises(SpecError, match="cannot be read"):
        load_spec(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9\n")
    with pytest.raises(SpecError, match="cannot be read.*UTF-8"):
        load_spec(tmp_path / "latin.yaml")
