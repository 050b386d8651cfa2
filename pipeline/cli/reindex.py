"""`crossrec reindex`: the newest catalogue into the model that is served, without training."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
import traceback
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crossrec.components.catalogue_update.changes import CatalogueChanges
    from crossrec.pipeline.local_runner import NodeResult
    from crossrec.pipeline.terminal import Terminal

_DESCRIPTION = """\
Read the newest catalogue, put it into the last release in place of its own, and publish that as a new version.
Nothing is trained: models, crosses and graphs are those of the release. The recall of the index is measured again, and
a server must answer, before anything is published. Where nothing has changed, nothing is published."""


def add_parser(subparsers: Any) -> None:
    """Registers the command."""
    from crossrec.pipeline.cli.run import add_places

    parser = subparsers.add_parser(
        "reindex",
        help="put the newest catalogue into the last release, without training",
        description=_DESCRIPTION,
        epilog="Example: crossrec reindex marketplace --data data",
    )
    add_places(parser)
    parser.add_argument(
        "--version", type=int, metavar="N", help="the release whose models are taken (default: the last one)"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would change, and write nothing")
    parser.add_argument("--always", action="store_true", help="publish also where the catalogue has not changed")
    parser.add_argument("--verbose", action="store_true", help="leave the libraries' logs on the terminal")
    parser.set_defaults(run=run)


class _Unchanged(Exception):
    """Nothing differs from the catalogue that is served."""


def run(options: argparse.Namespace) -> int:
    """Runs the command.

    Returns:
        0 if a version was published, or nothing has changed; 1 if a step failed, 2 for bad input, 3 if the index or a
        server was not good enough.
    """
    from crossrec.components.memory import reuse_freed_memory
    from crossrec.components.run_lock import RunInProgressError, run_lock
    from crossrec.pipeline.terminal import quiet_libraries

    reuse_freed_memory()
    root = Path(options.root).resolve()
    if not (root / "metadata.sqlite").is_file():
        print(
            f"--root {options.root}: no run has been there. Publish a model with `crossrec run` first", file=sys.stderr
        )
        return 2
    log = root / "logs" / f"{datetime.now():%Y%m%d-%H%M%S}-reindex.log"
    with contextlib.ExitStack() as stack:
        try:
            if not options.dry_run:
                stack.enter_context(run_lock(root))
            terminal = stack.enter_context(quiet_libraries(str(log), options.verbose))
        except RunInProgressError as error:
            print(error, file=sys.stderr)
            return 2
        except OSError as error:
            reason = f"{error.strerror}: {error.filename}"
            print(f"--root {options.root}: cannot be written ({reason}). Name a folder that can", file=sys.stderr)
            return 2
        return _run(options, root, log, terminal)


def _run(options: argparse.Namespace, root: Path, log: Path, terminal: Terminal) -> int:
    started = time.monotonic()
    from crossrec.components.errors import DataError
    from crossrec.components.serving_check.ahead import server_ahead
    from crossrec.pipeline.failures import explain
    from crossrec.pipeline.optional_imports import without_unused

    with without_unused():
        from crossrec.pipeline.local_runner import NodeFailedError
    from crossrec.pipeline.locations import Locations
    from crossrec.pipeline.reindex import build, find_served, plan, source
    from crossrec.pipeline.spec.errors import SpecError
    from crossrec.pipeline.spec.load import load_spec

    locations = Locations(str(Path(options.data).resolve()), str(root))
    try:
        spec = load_spec(options.spec)
        served = find_served(spec, locations, options.version)
        of = source(spec, locations, served, options.always)
        models = (
            "" if served.models_from == served.version else f", whose models are those of version {served.models_from}"
        )
        terminal.out.write(f"Catalogue of version {served.version}{models}\n")
        terminal.out.flush()
        if options.dry_run:
            _tell(terminal, plan(served, of))
            return 0
        ahead = server_ahead(spec.serving.check, spec.serving.model_name)
        results = _execute(build(spec, locations, served, of), terminal, options.always, ahead)
    except (SpecError, DataError) as error:
        terminal.error.write(f"{error}\n")
        return 2
    except _Unchanged:
        terminal.out.write(f"\nNothing has changed since version {served.version}; nothing is published\n")
        return 0
    except NodeFailedError as error:
        # Descriptor 2 is the log file, or the terminal if the libraries may write there.
        with open(2, "w", encoding="utf-8", closefd=False) as stream:
            traceback.print_exception(type(error), error, error.__traceback__, file=stream)
        failure = explain(error, log)
        terminal.error.write(f"\n{failure.message}\n")
        return failure.code
    return _end(terminal, results, time.monotonic() - started, log)


def _execute(
    pipeline: Any, terminal: Terminal, always: bool, ahead: AbstractContextManager[None]
) -> dict[str, NodeResult]:
    """Runs the pipeline; what is only looked up is not told of. ``ahead`` has the server of the check started."""
    from tfx.dsl.components.common.importer import Importer

    from crossrec.components.catalogue_update.executor import CHANGED, NEW, REMOVED
    from crossrec.components.features.kept import files_kept
    from crossrec.pipeline.local_runner import run_pipeline
    from crossrec.pipeline.narrator import Narrator

    looked_up = {node.id for node in pipeline.components if isinstance(node, Importer)}
    with (
        contextlib.ExitStack() as stack,
        files_kept(),
        Narrator(terminal.out, len(pipeline.components) - len(looked_up)) as narrator,
    ):

        def end(result: NodeResult) -> None:
            if result.node in looked_up:
                return
            narrator.end(result)
            if result.node == "CatalogueUpdate":
                found = result.outputs["item_table"].properties
                if not always and not any(found.get(name) for name in (NEW, REMOVED, CHANGED)):
                    raise _Unchanged

        def start(node: str) -> None:
            if node not in looked_up:
                narrator.start(node)
            if node == "ServingBundle":
                # Making the bundle keeps one core busy; meanwhile the server loads its libraries on another.
                stack.enter_context(ahead)

        return run_pipeline(pipeline, start, end)


def _tell(terminal: Terminal, changes: CatalogueChanges) -> None:
    terminal.out.write(f"{changes}\n")
    for kind, ids in changes.examples.items():
        terminal.out.write(f"{kind:<8} such as {', '.join(ids)}\n")


def _end(terminal: Terminal, results: dict[str, NodeResult], seconds: float, log: Path) -> int:
    from crossrec.components.catalogue_update.changes import CatalogueChanges
    from crossrec.pipeline.story import told_check, told_index

    changes = CatalogueChanges.read(results["CatalogueUpdate"].outputs["item_table"].uri)
    published = results["Publisher"].outputs["published"].properties
    blessings = [results[name].outputs["blessing"].properties for name in ("RecallGate", "ServingCheck")]
    refusals = [str(found.get("blessing_message")) for found in blessings if found.get("blessed") != 1]
    lines = [f"Catalogue {changes}", *told_index(results), *told_check(results)]
    if published.get("pushed") == 1:
        lines.append(f"Release   version {published['pushed_version']} in {published['pushed_destination']}")
    else:
        lines.append(f"Release   none: {'; '.join(refusals)}")
    lines.append(f"\nDone in {seconds:.0f} s. Logs of the libraries: {log}")
    terminal.out.write("\n" + "\n".join(lines) + "\n")
    return 0 if published.get("pushed") == 1 else 3
