"""`crossrec experiment`: from the files of clients and of outcomes to a verdict, and what it refuses."""

import gzip
import json

import numpy as np
import pytest

from crossrec.pipeline.cli import extras
from crossrec.pipeline.cli.experiment_options import moment
from crossrec.serving.experiments import Experiment, Exposure, ExposureFiles

pd = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")

DAY = 86_400.0
BEGIN = 1_760_000_000.0
SPLIT = Experiment("ranker-7", {"stable": 60, "canary": 40})
UNITS = [f"u{number:05}" for number in range(6000)]


def record(folder, exposures, dropped=0):
    files = ExposureFiles(folder)
    files.write(exposures, dropped)
    files.close()


def exposures_of(units=UNITS, experiment=SPLIT, version=(7, 8), begin=BEGIN, days=5.0):
    """One or two exposures of each unit, spread over the days."""
    found = []
    for place, unit in enumerate(units):
        arm = experiment.assign(unit).arm
        first = begin + days * DAY * place / len(units)
        for time in (first, first + 3600)[: 1 + place % 2]:
            served = version[arm == "canary"]
            found.append(Exposure(experiment.name, arm, unit, time, experiment.allocation, served))
    return found


def outcomes_of(units=UNITS, rates=(0.10, 0.20), days=5.0, seed=0):
    """Three impressions of each unit within its day, and one of the week before."""
    generator = np.random.default_rng(seed)
    rows = []
    for place, unit in enumerate(units):
        first = BEGIN + days * DAY * place / len(units)
        rate = rates[SPLIT.assign(unit).arm == "canary"]
        for offset in (-DAY, 60.0, 7200.0, 20_000.0):
            rows.append((unit, first + offset, int(generator.random() < rate), generator.gamma(2.0)))
    return pd.DataFrame(rows, columns=["user_id", "timestamp", "clicked", "spent"]).sort_values("timestamp")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder of exposures, the outcomes as a frame, and their file."""
    path = tmp_path_factory.mktemp("experiment")
    exposures = exposures_of()
    record(path / "exposures", exposures[::2])
    record(path / "exposures", exposures[1::2])
    outcomes = outcomes_of()
    outcomes.to_csv(path / "outcomes.csv", index=False)
    return path, outcomes


@pytest.fixture
def analyse(run, world):
    path, _ = world

    def analyse(*arguments, exposures=path / "exposures", outcomes=path / "outcomes.csv", metric="clicked"):
        given = [] if metric is None else ["--metric", metric]
        return run("analyse", "--exposures", exposures, "--outcomes", outcomes, *given, *arguments)

    return analyse


@pytest.fixture
def report(analyse):
    def report(*arguments, code=0, **settings):
        found, out, err = analyse("--json", *arguments, **settings)
        assert (found, err) == (code, "")
        return json.loads(out)

    return report


def by_hand(outcomes, value):
    """Mean of a per-unit value in both arms, of units whose day is over, by pandas alone."""
    first = pd.Series({unit: BEGIN + 5 * DAY * place / len(UNITS) for place, unit in enumerate(UNITS)})
    mature = first[first + DAY <= outcomes["timestamp"].max()].index
    since = outcomes["timestamp"] - outcomes["user_id"].map(first)
    inside = outcomes[(since >= 0) & (since < DAY)]
    units = inside.groupby("user_id").apply(value).reindex(mature).fillna(0.0)
    return units.groupby([SPLIT.assign(unit).arm for unit in mature]).agg(["count", "mean", "var"])


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        ("clicked", lambda rows: rows["clicked"].sum()),
        ("clicked:any", lambda rows: float(rows["clicked"].any())),
        ("spent", lambda rows: rows["spent"].sum()),
        ("rows", len),
    ],
)
def test_the_means_are_those_of_the_units_within_their_windows(report, world, metric, value):
    found = report(metric=metric)
    expected = by_hand(world[1], value)
    (one,) = found["judgement"]["comparisons"]
    assert found["judgement"]["units"] == expected["count"].to_dict()
    assert found["waiting"] == len(UNITS) - expected["count"].sum() > 0
    assert one["control_mean"] == pytest.approx(expected["mean"]["stable"])
    assert one["mean"] == pytest.approx(expected["mean"]["canary"])
    if metric == "clicked":
        pooled = (expected["var"] * (expected["count"] - 1)).sum() / (expected["count"].sum() - 2)
        error = (expected["var"].clip(lower=pooled) / expected["count"]).sum() ** 0.5
        assert one["fixed"] == pytest.approx([one["difference"] + sign * 1.959964 * error for sign in (-1, 1)])
        assert (one["verdict"], one["decided_by"]) == ("higher", "any look")
        assert one["always_valid"][0] < one["fixed"][0] < one["fixed"][1] < one["always_valid"][1]


def test_a_ratio_of_sums(report, world):
    (one,) = report(metric="spent/rows")["judgement"]["comparisons"]
    total = by_hand(world[1], lambda rows: rows["spent"].sum())["mean"]
    assert one["mean"] == pytest.approx(total["canary"] / 3)


def test_every_format_and_way_to_write_time_gives_the_same(report, world, tmp_path):
    outcomes = world[1]
    expected = report()
    moments = pd.to_datetime(outcomes["timestamp"], unit="s", utc=True)
    outcomes.to_parquet(tmp_path / "numbers.parquet")
    outcomes.assign(timestamp=moments).to_parquet(tmp_path / "moments.parquet")
    outcomes.assign(timestamp=moments.map(lambda moment: moment.isoformat())).to_csv(tmp_path / "text.csv", index=False)
    outcomes.to_json(tmp_path / "rows.jsonl", orient="records", lines=True)
    folder = tmp_path / "folder"
    folder.mkdir()
    outcomes.iloc[:9000].to_csv(folder / "a.csv", index=False)
    outcomes.iloc[9000:].to_parquet(folder / "b.parquet")
    for name in ("numbers.parquet", "moments.parquet", "text.csv", "rows.jsonl", "folder"):
        found = report(outcomes=tmp_path / name)
        assert found["judgement"]["units"] == expected["judgement"]["units"], name
        for key in ("control_mean", "mean", "always_valid", "fixed_lift"):
            assert found["judgement"]["comparisons"][0][key] == pytest.approx(
                expected["judgement"]["comparisons"][0][key]
            ), name


def test_units_may_be_numbers(report, tmp_path):
    units = [str(number) for number in range(1000)]
    record(tmp_path / "exposures", exposures_of(units, days=1.0))
    outcomes = pd.DataFrame(
        {"id": [int(unit) for unit in units] + [None], "at": BEGIN + 2 * DAY - 1, "clicked": 1.0}
    ).astype({"id": "float64"})
    outcomes.to_parquet(tmp_path / "o.parquet")
    settings = {"exposures": tmp_path / "exposures", "outcomes": tmp_path / "o.parquet"}
    columns = ("--unit-column", "id", "--time-column", "at")
    found = report(*columns, "--window", "2d", "--until", BEGIN + 9 * DAY, **settings)
    assert found["judgement"]["comparisons"][0]["mean"] == 1.0


def test_a_covariate_narrows_the_interval(report, world, tmp_path):
    outcomes = world[1].copy()
    habit = dict(zip(UNITS, np.random.default_rng(9).gamma(1.0, 5.0, len(UNITS))))
    outcomes["spent"] += outcomes["user_id"].map(habit)
    outcomes.to_parquet(tmp_path / "o.parquet")
    plain = report(metric="spent", outcomes=tmp_path / "o.parquet")["judgement"]["comparisons"][0]
    adjusted = report("--covariate", "spent", metric="spent", outcomes=tmp_path / "o.parquet")
    adjusted = adjusted["judgement"]["comparisons"][0]

    def width(one):
        return one["fixed"][1] - one["fixed"][0]

    assert width(adjusted) < 0.5 * width(plain)
    assert plain["fixed"][0] < adjusted["difference"] < plain["fixed"][1]


def test_the_text_says_who_answered_and_who_decides(analyse):
    code, out, err = analyse("--metric", "clicked:any", "--planned-units", 4000)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "experiment ranker-7"
    assert lines[3].split()[0] == "stable" and lines[3].endswith("version 7 100.0%")
    assert "The shares are as promised" in out and "(4,000 were planned)" in out
    assert "higher (any look)" in out
    assert "Coverage of an interval of the lift: 99.75% over all looks, or 97.75% at one look." in out


def test_a_mismatch_refuses_the_verdict(analyse, report, tmp_path):
    lost = [one for one in exposures_of() if one.arm == "stable" or int(one.unit[1:]) % 5]
    record(tmp_path, lost)
    code, out, _ = analyse(exposures=tmp_path)
    assert code == 3
    assert "NO VERDICT: the arms do not have the units that their shares promise" in out
    assert "%" not in out.partition("NO VERDICT")[2], "no lift is told"
    found = report(exposures=tmp_path, code=3)
    assert found["judgement"] is None and found["ratio"]["p_value"] < 0.01


def test_units_in_two_arms_are_left_out_and_counted(report, tmp_path):
    extra = [one._replace(arm="canary", time=one.time + 1) for one in exposures_of() if one.arm == "stable"][:60]
    record(tmp_path, exposures_of() + extra)
    found = report(exposures=tmp_path)
    mixed = len({one.unit for one in extra})
    assert f"{mixed} of 6,000 units were seen in several arms" in found["warnings"][0]
    assert sum(found["ratio"]["units"]) == 6000 - mixed


def test_only_the_last_shares_count(report, tmp_path):
    before = Experiment("ranker-7", {"stable": 95, "canary": 5})
    record(tmp_path, exposures_of(experiment=before, begin=BEGIN - 9 * DAY) + exposures_of())
    found = report(exposures=tmp_path)
    assert sum(found["ratio"]["units"]) == 6000
    assert any("left out are those under stable=0.95,canary=0.05 (9,000 records)" in one for one in found["warnings"])
    assert not any("reads an old file" in one for one in found["warnings"])
    late = exposures_of(UNITS[:10], experiment=before, begin=BEGIN + 2 * DAY, days=0.1)
    record(tmp_path, late)
    assert any("reads an old file" in one for one in report(exposures=tmp_path)["warnings"])


def test_what_clients_lost_or_got_from_elsewhere_is_told(report, tmp_path):
    exposures = [
        one._replace(model_version=0, error="UNAVAILABLE") if place % 10 == 0 and one.arm == "canary" else one
        for place, one in enumerate(exposures_of())
    ]
    exposures = [
        one._replace(model_version=10) if one.time >= BEGIN + 3 * DAY and one.model_version == 8 else one
        for one in exposures
    ]
    record(tmp_path, exposures, dropped=12)
    found = report(exposures=tmp_path)
    told = " ".join(found["warnings"])
    failed = sum(one.error == "UNAVAILABLE" for one in exposures)
    asked = sum(one.arm == "canary" for one in exposures)
    assert "the clients dropped 12 records" in told
    assert f"{failed:,} of {asked:,} requests of arm canary got no answer" in told
    second = min(one.time for one in exposures if one.model_version == 10)
    assert "arm canary was served by versions 8, 10, one after the other; --from 2025-10-12T08:5" in told
    begin = next(one for one in found["warnings"] if "--from" in one).partition("--from ")[2].split()[0]
    assert moment(begin) == pytest.approx(second, abs=1)
    assert found["answers"]["canary"]["UNAVAILABLE"] == failed


def test_cut_and_unreadable_lines_are_left_out_and_counted(report, tmp_path):
    record(tmp_path, exposures_of())
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    (tmp_path / "cut.jsonl").write_bytes(whole[: whole.index(b"\n", 500) - 20])
    (tmp_path / "odd.jsonl").write_bytes(b'{"experiment": 7}\nnonsense\n{"experiment": "ranker-7"}\n\n[1]\n')
    found = report(exposures=tmp_path)
    assert found["warnings"] == ["4 lines are no records, and 1 files end in a cut line (both left out)"]
    assert sum(found["ratio"]["units"]) == 6000


def test_compressed_files_and_single_files(report, world, tmp_path):
    data = b"".join(path.read_bytes() for path in sorted((world[0] / "exposures").iterdir()))
    with gzip.open(tmp_path / "all.jsonl.gz", "wb") as file:
        file.write(data)
    assert report(exposures=tmp_path) == report(exposures=tmp_path / "all.jsonl.gz") == report()


def test_blocks_and_merges_do_not_change_the_result(report, monkeypatch):
    from crossrec.pipeline.cli import experiment_exposures, experiment_outcomes

    expected = report()
    monkeypatch.setattr(experiment_exposures, "_BLOCK_BYTES", 100_000)
    monkeypatch.setattr(experiment_exposures, "_MERGE_ROWS", 700)
    monkeypatch.setattr(experiment_outcomes, "_CHUNK_ROWS", 777)
    assert report() == expected


def test_several_experiments_in_one_folder(report, analyse, tmp_path):
    other = Experiment("other", {"stable": 1, "canary": 1})
    record(tmp_path, exposures_of() + exposures_of(experiment=other))
    code, _, err = analyse(exposures=tmp_path)
    assert code == 2
    assert "--experiment:" in err and "holds 2: other, ranker-7. Name one of them." in err
    assert report("--experiment", "ranker-7", exposures=tmp_path) == report()


def test_control_and_times_can_be_chosen(report):
    there, back = report(), report("--control", "canary")
    assert (there["arms"], back["arms"]) == (["stable", "canary"], ["canary", "stable"])
    first, second = there["judgement"]["comparisons"][0], back["judgement"]["comparisons"][0]
    assert first["difference"] == pytest.approx(-second["difference"])
    half = report("--from", BEGIN + 2.5 * DAY)
    assert sum(half["ratio"]["units"]) == pytest.approx(3000, abs=60)
    early = report("--until", "2025-10-10T08:53:20Z")  # BEGIN + 1 day
    assert sum(early["ratio"]["units"]) == 1200


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--unit-column", "user"], "outcomes.csv has no column 'user'. Its columns are user_id, timestamp, clicked,"),
        (["--time-column", "at"], "--time-column: "),
        (["--metric", "bought"], "--metric or --covariate: "),
        (["--covariate", "bought"], "has no column 'bought'"),
        (["--metric", "a/b/c"], "'a/b/c' is no metric. Write COLUMN, COLUMN:any or COLUMN/COLUMN"),
        (["--metric", "clicked"], "names one twice"),
        (["--control", "red"], "--control: 'red' is no arm. The arms are stable, canary."),
        (["--experiment", "nope"], "no record of the experiment 'nope'"),
        (["--alpha", "5"], "alpha=5.0: give a number between 0 and 1"),
        (["--unit-column", "clicked"], "none of the 24,000 rows belongs to one of 6,000 exposed units"),
        (["--metric", "user_id"], "column user_id: 'u00000' is no finite number"),
        (["--time-column", "user_id"], "column user_id: 'u00000' is no time"),
    ],
)
def test_a_wrong_argument_names_file_column_and_mend(analyse, arguments, message):
    code, out, err = analyse(*arguments)
    assert (code, out) == (2, "")
    assert message in err and err.startswith("crossrec experiment analyse: ")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"exposures": "nowhere"}, "nowhere is no folder with .jsonl files"),
        ({"outcomes": "nowhere.csv"}, "nowhere.csv is not there. Name a file that is."),
    ],
)
def test_a_missing_file_is_named(analyse, settings, message):
    code, _, err = analyse(**settings)
    assert code == 2 and message in err


def test_files_that_are_something_else_are_named(analyse, tmp_path):
    for name in ("o.parquet", "o.jsonl", "o.csv", "o.txt"):
        (tmp_path / name).write_bytes(b"" if name == "o.csv" else b"\x00nonsense")
        code, _, err = analyse(outcomes=tmp_path / name)
        assert code == 2 and name in err, name


@pytest.mark.parametrize("flag", ["--window", "--before", "--from", "--until"])
def test_a_wrong_time_is_refused_at_once(analyse, flag, capsys):
    with pytest.raises(SystemExit) as caught:
        analyse(flag, "soon")
    assert caught.value.code == 2 and "'soon' is no" in capsys.readouterr().err


def test_without_pyarrow_analyse_names_the_extra(analyse, monkeypatch):
    monkeypatch.setitem(extras._FIRST_IMPORTS, "experiment analyse", "not_installed")
    code, _, err = analyse()
    assert code == 2 and "pip install 'crossrec[pipeline]'" in err
