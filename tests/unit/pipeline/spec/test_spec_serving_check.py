"""What a spec may demand of a server, and that the bundle does not depend on it."""

import copy

import pytest
import yaml

from crossrec.components.serving_bundle.config import ServingConfig
from crossrec.pipeline.spec.errors import SpecError
from crossrec.pipeline.spec.load import EXAMPLES, parse_spec

WORKING = yaml.safe_load((EXAMPLES / "marketplace" / "spec.yaml").read_text(encoding="utf-8"))


def spec(**check):
    content = copy.deepcopy(WORKING)
    content["serving"]["check"] = check
    return parse_spec(content)


def test_without_limits_no_latency_refuses_a_bundle():
    check = parse_spec(WORKING).serving.check
    assert (check.p50_ms, check.p99_ms) == (None, None)
    assert (check.server, check.concurrency) == ("auto", 1)
    assert check.requests > 0, "it is measured nevertheless"


def test_the_bundle_does_not_change_with_the_check():
    bundles = [spec().serving.bundle, spec(server="docker", p99_ms=20, requests=500).serving.bundle]
    assert type(bundles[0]) is ServingConfig
    assert bundles[0].model_dump_json() == bundles[1].model_dump_json()
    assert bundles[0].list_size == WORKING["serving"]["list_size"]


@pytest.mark.parametrize(
    ("field", "value", "mend"),
    [
        ("server", "tomcat", "'binary', 'docker'"),
        ("requests", -1, "greater than or equal to 0"),
        ("p99_ms", 0, "greater than 0"),
        ("p50_ms", "fast", "valid number"),
        ("concurrency", 0, "greater than or equal to 1"),
        ("p99", 20, "p99_ms"),
    ],
)
def test_a_wrong_value_is_named(field, value, mend):
    with pytest.raises(SpecError) as caught:
        spec(**{field: value})
    (problem,) = caught.value.problems
    assert problem.startswith(f"serving.check.{field}") and mend in problem
