import pytest

from crossrec.components.modeling.schedule import ScheduleConfig, share_of_epoch, warm_up_share


def shares(config, losses):
    """The share of each epoch, as the losses become known one by one."""
    return [share_of_epoch(config, losses[:epoch], len(losses)) for epoch in range(len(losses))]


def test_a_constant_rate_stays():
    assert shares(ScheduleConfig(), [3.0, 4.0, 5.0]) == [1.0, 1.0, 1.0]


def test_cosine_falls_from_one_by_half_a_wave_down_to_the_floor():
    plain = shares(ScheduleConfig(type="cosine"), [0.0] * 4)
    assert plain == pytest.approx([1.0, 0.5 + 0.5**1.5, 0.5, 0.5 - 0.5**1.5])
    floored = shares(ScheduleConfig(type="cosine", floor=0.2), [0.0] * 4)
    assert floored == pytest.approx([0.2 + 0.8 * share for share in plain])


@pytest.mark.parametrize(
    ("values", "losses", "expected"),
    [
        ({}, [0.5, 0.6, 0.4, 0.4, 0.3, 0.2], [1, 1, 0.1, 0.1, 0.01, 0.01]),
        ({"factor": 0.5}, [0.5, 0.6, 0.7, 0.8], [1, 1, 0.5, 0.25]),
        ({"factor": 0.5, "rest": 2}, [0.5, 0.6, 0.7, 0.8, 0.9, 1.0], [1, 1, 1, 0.5, 0.5, 0.25]),
        ({"factor": 0.5, "rest": 2}, [0.5, 0.6, 0.4, 0.6, 0.3], [1, 1, 1, 1, 1]),
        ({"floor": 0.05}, [0.5, 0.6, 0.7, 0.8], [1, 1, 0.1, 0.05]),
    ],
)
def test_a_plateau_lowers_the_rate_once_for_each_rest(values, losses, expected):
    assert shares(ScheduleConfig(type="plateau", **values), losses) == pytest.approx(expected)


def test_warm_up_grows_in_a_line_to_one_and_stays():
    config = ScheduleConfig(warm_up_steps=4)
    assert [warm_up_share(config, step) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert warm_up_share(ScheduleConfig(), 0) == 1.0


@pytest.mark.parametrize(("field", "value"), [("factor", 1.0), ("floor", 1.0), ("rest", 0), ("type", "linear")])
def test_settings_without_sense_are_refused(field, value):
    with pytest.raises(ValueError, match=field):
        ScheduleConfig(**{field: value})
