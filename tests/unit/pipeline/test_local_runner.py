"""A pipeline of two small components, run, run again, and broken."""

import pytest
from tfx import v1 as tfx
from tfx.dsl.component.experimental.decorators import component
from tfx.orchestration import metadata
from tfx.orchestration.pipeline import Pipeline
from tfx.types import standard_artifacts

from crossrec.components.errors import DataError
from crossrec.pipeline.local_runner import NodeFailedError, run_pipeline

Text = standard_artifacts.String


@component
def Write(text: tfx.dsl.components.OutputArtifact[Text], word: tfx.dsl.components.Parameter[str]):  # noqa: N802
    text.value = word
    text.set_string_custom_property("word", word)
    text.set_int_custom_property("length", len(word))


@component
def Check(  # noqa: N802
    text: tfx.dsl.components.InputArtifact[Text],
    answer: tfx.dsl.components.OutputArtifact[Text],
    wrong: tfx.dsl.components.Parameter[str],
):
    if text.value == wrong:
        raise DataError("data.word", f"{text.value!r} is wrong", "Choose another one.")
    answer.value = text.value * 2


def make(root, word, wrong=""):
    write = Write(word=word)
    check = Check(text=write.outputs["text"], wrong=wrong)
    return Pipeline(
        pipeline_name="small",
        pipeline_root=str(root / "artifacts"),
        components=[check, write],
        enable_cache=True,
        metadata_connection_config=metadata.sqlite_metadata_connection_config(str(root / "metadata.sqlite")),
    )


def run(root, word, wrong="", never_cached=()):
    events = []
    results = run_pipeline(
        make(root, word, wrong),
        lambda node: events.append(("start", node)),
        lambda result: events.append(("end", result.node)),
        never_cached,
    )
    assert events == [("start", "Write"), ("end", "Write"), ("start", "Check"), ("end", "Check")]
    assert all(result.seconds >= 0 for result in results.values())
    return results


def test_nodes_run_in_order_and_are_cached_the_second_time(tmp_path):
    first = run(tmp_path, "ab")
    assert [result.cached for result in first.values()] == [False, False]
    assert first["Write"].outputs["text"].properties["word"] == "ab"
    assert first["Write"].outputs["text"].properties["length"] == 2
    with open(first["Check"].outputs["answer"].uri) as file:
        assert file.read() == "abab"

    again = run(tmp_path, "ab")
    assert [result.cached for result in again.values()] == [True, True]
    assert {n: r.outputs for n, r in again.items()} == {n: r.outputs for n, r in first.items()}

    other = run(tmp_path, "abc")
    assert [result.cached for result in other.values()] == [False, False]

    forced = run(tmp_path, "ab", never_cached=("Check",))
    assert [result.cached for result in forced.values()] == [True, False]


def test_a_node_that_raises_is_named_and_its_error_is_the_cause(tmp_path):
    started = []
    ended = []
    with pytest.raises(NodeFailedError, match="Check failed") as error:
        run_pipeline(make(tmp_path, "bad", "bad"), started.append, lambda result: ended.append(result.node))
    assert error.value.node == "Check" and started == ["Write", "Check"] and ended == ["Write"]
    causes = []
    cause = error.value
    while cause is not None:
        causes.append(str(cause))
        cause = cause.__cause__ or cause.__context__
    assert "data.word: 'bad' is wrong. Choose another one." in causes
    # What was done well is not done again.
    results = run(tmp_path, "bad")
    assert [result.cached for result in results.values()] == [True, False]
