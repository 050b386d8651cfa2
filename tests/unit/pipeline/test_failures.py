"""What a user is told of a node that failed."""

from pathlib import Path

import pytest

from crossrec.components.errors import DataError
from crossrec.pipeline.failures import explain
from crossrec.pipeline.local_runner import NodeFailedError
from crossrec.serving.releases.errors import ReleaseError

LOG = Path("/runs/logs/1.log")


def failed(raise_it):
    try:
        try:
            raise_it()
        except Exception as error:
            raise NodeFailedError("Publisher") from error
    except NodeFailedError as error:
        return explain(error, LOG)


def bad_data():
    try:
        raise DataError("data.items.item", "2 rows too many", "Leave them out.")
    except DataError as error:
        raise RuntimeError("a worker ended") from error


def full_disk():
    try:
        raise OSError(28, "No space left on device", "/models/shop/.staging-1")
    except OSError as error:
        raise ReleaseError("cannot publish /bundle: /models: No space left; free 12 bytes and publish again") from error


def hidden():
    try:
        raise KeyError("inner")
    except KeyError:
        raise ValueError("epochs: 0, must be at least 1") from None


def test_bad_data_is_told_in_its_own_words_and_is_the_user_s_to_mend():
    assert failed(bad_data) == (2, "Publisher failed.\ndata.items.item: 2 rows too many. Leave them out.")


def test_a_refused_release_keeps_its_mend():
    code, message = failed(full_disk)
    assert code == 1
    assert "free 12 bytes and publish again" in message
    assert "Errno" not in message


def test_anything_else_gives_the_reason_and_the_log():
    code, message = failed(lambda: 1 / 0)
    assert code == 1
    assert message == f"Publisher failed: ZeroDivisionError: division by zero\nThe whole story is in {LOG}"


def test_what_python_would_not_show_is_not_shown():
    assert "ValueError: epochs: 0" in failed(hidden).message
    assert "inner" not in failed(hidden).message


def test_a_node_without_an_exception_points_to_the_log():
    assert explain(NodeFailedError("Evaluation"), LOG) == (1, f"Evaluation failed.\nThe whole story is in {LOG}")


@pytest.mark.parametrize("length", [10, 100_000])
def test_messages_stay_short(length):
    def speak():
        raise ValueError("x" * length)

    assert len(failed(speak).message) < 1200
