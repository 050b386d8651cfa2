import ast
from pathlib import Path

import pytest

from crossrec.pipeline import digest

ROOT = Path(digest.__file__).resolve().parents[1]


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A copy of the code's layout that a test may change."""
    files = {
        "components/retrieval_trainer/model.py": "a = 1",
        "components/retrieval_trainer/deep/er.py": "a = 1",
        "components/ranking_trainer/model.py": "a = 1",
        "components/features/crosses.py": "a = 1",
        "components/features/spill.py": "a = 1",
        "components/modeling/towers.py": "a = 1",
        "components/example_gen/reader.py": "a = 1",
        "components/evaluation/classification_metrics.py": "a = 1",
        "components/evaluation/graded_metrics.py": "a = 1",
        "components/evaluation/ragged.py": "a = 1",
        "components/evaluation/ranking_metrics.py": "a = 1",
        "components/evaluation/report.py": "a = 1",
        "components/text/wordpiece.py": "a = 1",
        "components/text_encoder/train.py": "a = 1",
        "components/text_embedder/embed.py": "a = 1",
        "serving/contract/names.py": "a = 1",
        "serving/launch/plans.py": "a = 1",
        "serving/local_server/core.py": "a = 1",
        **{f"serving/releases/{name}.py": "a = 1" for name in ("bundle", "checks", "errors", "fleet", "golden")},
        "serving/releases/replica.py": "a = 1",
        "serving/releases/publish.py": "a = 1",
        "components/serving_check/check.py": "a = 1",
        "components/serving_bundle/bundle.py": "a = 1",
        "components/warm_start/lineage.py": "a = 1",
        "components/warm_start/records.py": "a = 1",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(digest, "_ROOT", tmp_path)
    digest.code_digest.cache_clear()
    yield tmp_path
    digest.code_digest.cache_clear()


COMPONENTS = (
    "retrieval_trainer",
    "ranking_trainer",
    "example_gen",
    "text_encoder",
    "text_embedder",
    "serving_bundle",
    "evaluation",
    "serving_check",
)


def digests():
    digest.code_digest.cache_clear()
    return {component: digest.code_digest(component) for component in COMPONENTS}


def changed_by(edit):
    before = digests()
    edit()
    after = digests()
    return {component for component in COMPONENTS if before[component] != after[component]}


@pytest.mark.parametrize(
    ("file", "changed"),
    [
        ("components/retrieval_trainer/model.py", {"retrieval_trainer"}),
        ("components/retrieval_trainer/deep/er.py", {"retrieval_trainer"}),
        ("components/features/crosses.py", set(COMPONENTS) - {"example_gen"}),
        ("components/features/spill.py", set(COMPONENTS)),
        ("components/modeling/towers.py", set(COMPONENTS) - {"example_gen"}),
        ("components/example_gen/reader.py", {"example_gen"}),
        ("components/evaluation/classification_metrics.py", {"ranking_trainer", "evaluation"}),
        ("components/evaluation/ranking_metrics.py", {"retrieval_trainer", "evaluation"}),
        ("components/evaluation/report.py", {"evaluation"}),
        ("serving/contract/names.py", {"serving_bundle", "evaluation", "serving_check"}),
        ("serving/launch/plans.py", {"serving_check"}),
        ("serving/local_server/core.py", {"serving_check"}),
        ("serving/releases/golden.py", {"serving_check"}),
        ("serving/releases/publish.py", set()),
        ("components/serving_check/check.py", {"serving_check"}),
        ("components/warm_start/lineage.py", {"serving_bundle"}),
        ("components/text/wordpiece.py", {"text_encoder"}),
        ("components/text_embedder/embed.py", {"text_embedder"}),
    ],
)
def test_an_edit_changes_the_digest_of_those_who_run_the_code(tree, file, changed):
    assert changed_by(lambda: (tree / file).write_text("a = 2")) == changed


def test_a_new_or_renamed_file_changes_the_digest_and_other_files_do_not(tree):
    folder = tree / "components/ranking_trainer"
    assert changed_by(lambda: (folder / "new.py").write_text("")) == {"ranking_trainer"}
    assert changed_by(lambda: (folder / "new.py").rename(folder / "other.py")) == {"ranking_trainer"}
    assert changed_by(lambda: (folder / "notes.txt").write_text("")) == set()


def imported(folder):
    """Folders and files of this project that the Python files of a folder import, as paths below the root."""
    found = set()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("crossrec."):
                base = node.module.removeprefix("crossrec.").replace(".", "/")
                for name in node.names:
                    inner = f"{base}/{name.name}"
                    found.add(inner if (ROOT / inner).exists() or (ROOT / f"{inner}.py").exists() else base)
    return found


# What runs before each component, in the order of the graph: a change there gives the later ones new inputs.
ORDER = (
    "example_gen",
    "statistics",
    "example_validator",
    "text_encoder",
    "text_embedder",
    "feature_transform",
    "retrieval_trainer",
    "candidate_indexer",
    "ranking_examples",
    "ranking_trainer",
    "serving_bundle",
    "evaluation",
    "serving_check",
)
# Names, declarations, errors, progress and the number of threads, which no result depends on.
NEUTRAL = {
    f"components/{name}" for name in ("artifacts", "specs", "errors", "progress", "properties", "blessing", "threads")
}


@pytest.mark.parametrize("component", ORDER[1:])
def test_no_component_uses_code_that_neither_its_digest_nor_an_input_shows(component):
    """The configurations of later components are parameters, and so in the cache key as well."""
    covered = {f"components/{name}" for name in (*ORDER[: ORDER.index(component)], component, "features", "modeling")}
    covered |= set(digest._BORROWED.get(component, ())) | NEUTRAL
    if "text_encoder" in ORDER[: ORDER.index(component)]:
        covered.add("components/text")
    configurations = {f"components/{name}/config" for name in ORDER}
    loose = set()
    for module in imported(f"components/{component}") - configurations:
        if not any(module == c or module.startswith(f"{c}/") or f"{module}.py" == c for c in covered):
            loose.add(module)
    loose -= {"components/evaluation/metrics"} if component == "ranking_trainer" else set()
    assert not loose, f"{component} uses {loose}"
