import csv
import io
import math

import numpy as np

from crossrec.components.cross_selector.picture import _AUTO, _EXPLICIT, _REFUSED, draw, pair_matrix
from crossrec.components.cross_selector.report import (
    CSV,
    PAIRS_CSV,
    CrossReport,
    GainReport,
    PairReport,
    SelectionReport,
)
from crossrec.components.cross_selector.select import chosen_crosses


def cross(name, explicit, mean):
    gain = GainReport(mean=mean, error=mean / 4, low=mean / 2, high=1.5 * mean, p_value=0.001)
    return CrossReport(
        name=name, inputs=tuple(name.split("_x_")), explicit=explicit, gain=gain, over_others=gain, buckets=64,
        distinct=12, width=1, coverage=0.875, collision_rate=0.25,
    )  # fmt: skip


REPORT = SelectionReport(
    labels=("clicked",), rows=(600, 200, 200), looked_at=10, stopped="no cross is left that gains enough", seconds=1.0,
    crosses=(cross("a_x_b", True, 0.02), cross("b_x_c", False, 0.01)), refused=(cross("a_x_c", False, 0.004),),
    steps=("+ b x c",),
    pairs=(PairReport(inputs=("a", "b"), gain=0.02, error=0.001), PairReport(inputs=("b", "c"), gain=-0.01, error=0.1)),
)  # fmt: skip


def test_only_confirmed_crosses_that_the_spec_lacks_are_added():
    assert [(one.name, one.inputs, one.buckets) for one in chosen_crosses(REPORT)] == [("b_x_c", ("b", "c"), 64)]


def test_the_files_say_the_same(tmp_path):
    REPORT.write(str(tmp_path))
    assert SelectionReport.read(str(tmp_path)) == REPORT
    rows = list(csv.DictReader(io.StringIO((tmp_path / CSV).read_text())))
    assert [(row["name"], row["source"], float(row["gain"])) for row in rows] == [
        ("a_x_b", "explicit", 0.02), ("b_x_c", "auto", 0.01), ("a_x_c", "refused", 0.004),
    ]  # fmt: skip
    pairs = list(csv.DictReader(io.StringIO((tmp_path / PAIRS_CSV).read_text())))
    assert [(row["a"], row["b"], float(row["gain"])) for row in pairs] == [("a", "b", 0.02), ("b", "c", -0.01)]
    text = (tmp_path / "selection.md").read_text()
    assert "| b_x_c | 2 | 10.00 ± 5.00 | 10.00 ± 5.00 | 64 | 12 | 87.5 % | 25.0 % |" in text
    assert "not confirmed: a_x_c." in text


def test_the_heat_map_is_symmetric_and_empty_where_nothing_was_looked_at():
    names, matrix = pair_matrix(REPORT)
    assert names == ["a", "b", "c"]
    assert matrix[0, 1] == matrix[1, 0] == 20.0 and matrix[1, 2] == -10.0
    assert math.isnan(matrix[0, 2]) and math.isnan(matrix[1, 1])


def pixels(report, colour):
    from matplotlib import image

    picture = image.imread(io.BytesIO(draw(report)))[..., :3]
    wanted = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return int(np.all(np.abs(picture - wanted) < 0.01, axis=-1).sum())


def test_bars_are_as_long_as_gains_and_coloured_by_source():
    explicit, auto, refused = (pixels(REPORT, colour) for colour in (_EXPLICIT, _AUTO, _REFUSED))
    # Error bars hide a few pixels of each bar.
    assert 1.8 < explicit / auto < 2.2
    assert 2.2 < auto / refused < 2.8


def test_a_selection_of_nothing_can_be_drawn():
    empty = REPORT.model_copy(update={"crosses": (), "refused": (), "pairs": ()})
    assert pixels(empty, _AUTO) == 0
