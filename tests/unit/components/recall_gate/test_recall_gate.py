"""The blessing of an index by its measured recall."""

import pytest
from tfx.types import standard_artifacts

from crossrec.components.artifacts import CandidateIndex
from crossrec.components.blessing import blessing_message, is_blessed
from crossrec.components.candidate_indexer.report import IndexReport
from crossrec.components.recall_gate.executor import Executor


@pytest.mark.parametrize(("recall", "blessed"), [(0.95, True), (0.99, True), (0.9499, False)])
def test_an_index_below_its_target_is_not_blessed(tmp_path, recall, blessed):
    index, blessing = CandidateIndex(), standard_artifacts.ModelBlessing()
    index.uri, blessing.uri = str(tmp_path / "index"), str(tmp_path / "blessing")
    (tmp_path / "index").mkdir()
    IndexReport(type="partitioned", items=9, dimension=2, depth=5, recall=recall, recall_target=0.95, queries=77).write(
        index.uri
    )
    Executor().Do({"candidate_index": [index]}, {"blessing": [blessing]}, {})
    assert is_blessed(blessing) is blessed
    told = blessing_message(blessing)
    assert told == (
        "" if blessed else "index/recall@5 is 0.9499 on 77 validation queries; the target index.recall_target is 0.95"
    )
