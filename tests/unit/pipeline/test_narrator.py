"""What a run shows while it goes on, in a file and on a terminal."""

import io

import pytest

from crossrec.components.progress import LOGGER, progress
from crossrec.pipeline.local_runner import NodeResult
from crossrec.pipeline.narrator import Narrator


class TerminalStream(io.StringIO):
    def isatty(self):
        return True


def told(stream):
    with Narrator(stream, 3) as narrator:
        narrator.start("ItemsSchemaGen")
        narrator.end(NodeResult("ItemsSchemaGen", 0.12, False, {}))
        narrator.start("RankingTrainer")
        progress("epoch 1/2")
        progress("epoch 2/2")
        narrator.end(NodeResult("RankingTrainer", 61.04, False, {}))
        narrator.start("Publisher")
        narrator.end(NodeResult("Publisher", 0.0, True, {}))
    return stream.getvalue()


def test_a_file_gets_every_line():
    assert [line.rstrip() for line in told(io.StringIO()).splitlines()] == [
        "[ 1/3] ItemsSchemaGen: infers or imports the items' schema  0.1 s",
        "[ 2/3] RankingTrainer: trains the ranking model on features and crosses",
        "      epoch 1/2",
        "      epoch 2/2",
        "      61.0 s",
        "[ 3/3] Publisher: publishes the bundle if it is blessed  (unchanged, taken from the last run)",
    ]


def test_a_terminal_shows_the_latest_progress_only():
    shown = [line.rpartition("\r\033[K")[2] for line in told(TerminalStream()).split("\n")]
    assert "      epoch 1/2" not in shown
    assert shown[1:4] == [
        "[ 2/3] RankingTrainer: trains the ranking model on features and crosses",
        "      epoch 2/2",
        "      61.0 s",
    ]


@pytest.mark.parametrize("stream", [io.StringIO, TerminalStream])
def test_a_failure_does_not_share_its_line(stream):
    out = stream()
    with pytest.raises(RuntimeError), Narrator(out, 1) as narrator:
        narrator.start("FeatureTransform")
        raise RuntimeError
    out.write("FeatureTransform failed")
    assert out.getvalue().splitlines()[-1] == "FeatureTransform failed"


def test_it_listens_no_more_afterwards():
    out = io.StringIO()
    told(out)
    before = out.getvalue()
    progress("somebody else's")
    assert out.getvalue() == before
    assert not [handler for handler in LOGGER.handlers if isinstance(handler, Narrator)]
