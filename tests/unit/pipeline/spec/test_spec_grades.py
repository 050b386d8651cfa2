"""A spec of judgments: what the parts demand of each other where there are grades and no times."""

import copy

import pytest
import yaml

from crossrec.pipeline.columns import interaction_columns
from crossrec.pipeline.spec.errors import SpecError
from crossrec.pipeline.spec.load import EXAMPLES, parse_spec

WORKING = yaml.safe_load((EXAMPLES / "product_search" / "spec.yaml").read_text(encoding="utf-8"))


def refusal(**changes):
    content = copy.deepcopy(WORKING)
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = content
        for key in parents:
            place = place[int(key)] if isinstance(place, list) else place.setdefault(key, {})
        if isinstance(place, list):
            place[int(last)] = value
        else:
            place[last] = value
    with pytest.raises(SpecError) as caught:
        parse_spec(content)
    return caught.value.problems


def test_the_example_says_what_its_labels_are():
    spec = parse_spec(WORKING)
    assert spec.labels == ("rating_positive",) and spec.positive_label == "rating_positive"
    assert spec.ranking.learns_lists
    assert "rating" not in [column.name for column in interaction_columns(spec)]


TASK = {"name": "relevance", "label": "rating"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ranking__tasks__0": TASK}, "ranking.tasks.0.type: 'binary', but 'rating' holds grades. Use 'graded'"),
        (
            {"ranking__tasks__0": {**TASK, "type": "graded", "label": "rating_positive"}},
            "ranking.tasks.0.label: 'rating_positive' is no column of grades. Known: rating",
        ),
        ({"ranking__tasks__0": {"name": "click"}}, "ranking.tasks.0.label: 'click' is no label. Known: rating_posi"),
        (
            {"evaluation__thresholds": [{"metric": "ranking/relevance/auc", "minimum": 0.5}]},
            "evaluation.thresholds.0.metric: 'ranking/relevance/auc' is not measured",
        ),
        (
            {"features__query__grade": {"type": "numeric", "column": "rating"}},
            "features.query.grade.column: 'rating' is a label. Use another column",
        ),
        ({"ranking__last_days": 7}, "ranking.last_days: learns from the order of time"),
        ({"retrieval__popularity": {"half_life_days": 7}}, "retrieval.popularity: learns from the order of time"),
        ({"crosses__auto": {}}, "crosses.auto: learns from the order of time"),
        ({"warm_start": {}}, "warm_start: a release must not have seen the rows"),
        (
            {"crosses__explicit": [{"type": "statistics", "inputs": ["supplier"], "by": "time"}]},
            "crosses.explicit.0.by: 'time', and the data have none. Use 'user'",
        ),
        ({"crosses__explicit": []}, "ranking.features: missing, and there are no explicit"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused(changes, said):
    problems = refusal(**changes)
    assert any(problem.startswith(said) for problem in problems), problems


def test_a_binary_task_may_stand_beside_the_graded_one():
    content = copy.deepcopy(WORKING)
    content["ranking"]["tasks"].append({"name": "good", "label": "rating_positive", "score_weight": 0})
    assert parse_spec(content).ranking.tasks[1].type == "binary"
