"""What `crossrec reindex` starts ahead of its node, and that a failure leaves nothing of it."""

import io
import tempfile

import pytest
from tfx import v1 as tfx
from tfx.dsl.component.experimental.decorators import component
from tfx.orchestration import metadata
from tfx.orchestration.pipeline import Pipeline
from tfx.types import standard_artifacts

from crossrec.components.errors import DataError
from crossrec.components.features.kept import keep
from crossrec.components.serving_check.ahead import server_ahead, take_server
from crossrec.components.serving_check.config import ServingCheckConfig
from crossrec.pipeline.cli.reindex import _execute
from crossrec.pipeline.local_runner import NodeFailedError
from crossrec.pipeline.terminal import Terminal
from tests.unit.components.serving_check.test_component import processes_with
from tests.unit.serving.serve_here import until

Text = standard_artifacts.String


@component
def RecallGate(text: tfx.dsl.components.OutputArtifact[Text]):  # noqa: N802
    text.value = f"{take_server('shop') is None}"


@component
def ServingBundle(  # noqa: N802
    text: tfx.dsl.components.InputArtifact[Text], bundle: tfx.dsl.components.OutputArtifact[Text]
):
    server = take_server("shop")
    bundle.value = ""
    raise DataError("bundle", f"{text.value} before, {server is not None} now", f"Look into {server.versions}.")


def test_the_server_starts_with_the_bundle_and_ends_with_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    gate = RecallGate()
    pipeline = Pipeline(
        pipeline_name="small",
        pipeline_root=str(tmp_path / "artifacts"),
        components=[gate, ServingBundle(text=gate.outputs["text"])],
        metadata_connection_config=metadata.sqlite_metadata_connection_config(str(tmp_path / "metadata.sqlite")),
    )
    ahead = server_ahead(ServingCheckConfig(server="local"), "shop")
    out = io.StringIO()
    with pytest.raises(NodeFailedError) as caught:
        _execute(pipeline, Terminal(out, out), False, ahead)
    assert "True before, True now" in str(caught.value.__cause__)
    until(lambda: not processes_with(f"{tmp_path}/crossrec-standby-"))
    assert not list(tmp_path.glob("crossrec-standby-*")) and take_server("shop") is None
    (tmp_path / "file").touch()
    assert not keep(str(tmp_path / "file"), "anything"), "nothing is kept in memory any more"
