import pytest


@pytest.fixture
def run(capsys):
    """Runs `crossrec experiment`; its exit code and what it printed."""
    from crossrec.pipeline.cli.main import main

    def run(*arguments):
        code = main(["experiment", *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run
