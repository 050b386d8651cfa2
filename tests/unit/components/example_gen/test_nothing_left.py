"""What ingestion needs on its way is gone when it is done."""

from tests.unit.components.example_gen.support import make_config, run_interactions, run_items, write_tables


def test_no_rows_on_their_way_are_left_beside_the_examples(tmp_path):
    write_tables(tmp_path)
    items = run_items(make_config(), tmp_path, tmp_path / "items")
    examples = run_interactions(make_config(), tmp_path, tmp_path / "interactions", items)
    for artifact in (items, examples):
        assert not [path for path in (tmp_path / artifact.uri).iterdir() if "spill" in path.name]
