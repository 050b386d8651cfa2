"""The command line: one subcommand per file."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import crossrec
from crossrec.pipeline.cli import (
    backfill,
    compile,
    demo,
    experiment,
    query,
    reindex,
    release,
    run,
    serve,
    simulate,
    submit,
)
from crossrec.pipeline.cli.extras import missing_extra

_DESCRIPTION = """\
Feature crosses, retrieval and ranking for TFX pipelines and TensorFlow Serving.

From nothing to recommendations, step by step:
  crossrec simulate data                  make a marketplace to try things on
  crossrec run marketplace --data data    run the whole pipeline; publish a model below ./crossrec-run
  crossrec serve                          serve what was published (leave it running)
  crossrec query --query 'red shoes'      ask it, in another terminal
  crossrec release --help                 canary, promote, roll back what is served
  crossrec experiment --help              compare versions on users
  crossrec backfill --help                make up for days that were missed
  crossrec reindex --help                 put the newest catalogue into the model, without training
or all of it at once:
  crossrec demo
and on a cluster, with Kubeflow Pipelines:
  crossrec compile my-spec.yaml -o pipeline.yaml
  crossrec submit pipeline.yaml --endpoint http://HOST:PORT --wait
"""

_EPILOG = """\
`crossrec COMMAND --help` tells more about a command. query and release need the
light core only, and so does serve where TensorFlow Serving is installed; simulate,
run, backfill, reindex, demo, compile, submit, experiment analyse and the local server need
pip install 'crossrec[pipeline]', in Python 3.10.
Exit codes: 0 well, 1 failed, 2 wrong usage or input, 3 nothing published, since
the model was not good enough, or no verdict on an experiment.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        arguments: Command-line arguments; the process's own where None.

    Returns:
        Exit code: 0 well, 1 failed, 2 wrong usage or input, 3 not blessed, 130 interrupted.
    """
    parser = argparse.ArgumentParser(
        prog="crossrec",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"crossrec {crossrec.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True)
    for module in (simulate, run, backfill, reindex, serve, release, experiment, query, demo, compile, submit):
        module.add_parser(commands)
    options = parser.parse_args(arguments)
    missing = missing_extra(options.command)
    if missing:
        print(missing, file=sys.stderr)
        return 2
    try:
        return int(options.run(options))
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 1


if __name__ == "__main__":
    sys.exit(main())
