"""The command line: one subcommand per file."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import crossrec
from crossrec.pipeline.cli import demo, query, run, serve, simulate

_DESCRIPTION = """\
Feature crosses, retrieval and ranking for TFX pipelines and TensorFlow Serving.

From nothing to recommendations:
  crossrec simulate data               make a marketplace to try things on
  crossrec run marketplace --data data run the whole pipeline; publishes a model below ./crossrec-run
  crossrec serve                       serve what was published (leave it running)
  crossrec query --user U1             ask it, in another terminal
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; the process's exit code: 0 is well, 1 a failure, 2 wrong usage or input."""
    parser = argparse.ArgumentParser(
        prog="crossrec", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"crossrec {crossrec.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in (simulate, run, serve, query, demo):
        module.add_parser(commands)
    options = parser.parse_args(arguments)
    try:
        return int(options.run(options))
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 1


if __name__ == "__main__":
    sys.exit(main())
