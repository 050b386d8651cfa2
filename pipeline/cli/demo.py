"""`crossrec demo`: from nothing to recommendations, told as it happens."""

from __future__ import annotations

import argparse
import shlex
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crossrec.pipeline.cli.demo_visitors import Visitor
    from crossrec.pipeline.simulation import SimulationConfig

_SPEC = "marketplace"
_LIST_LENGTH = 5
_DESCRIPTION = """\
Simulate a marketplace, run the whole pipeline on it, serve the model that comes out, and ask it for three users.
The first time takes a few minutes; after that, unchanged steps are taken from the last run."""


def add_parser(subparsers: Any) -> None:
    """Registers the command.

    Args:
        subparsers: What ``ArgumentParser.add_subparsers`` returned.
    """
    parser = subparsers.add_parser(
        "demo",
        help="do all of that once, on simulated data, and show recommendations",
        description=_DESCRIPTION,
        epilog="Example: crossrec demo --dir demo --rows 20000",
    )
    parser.add_argument("--dir", metavar="DIR", default="demo", help="folder for data and run (default: %(default)s)")
    parser.add_argument(
        "--rows", type=int, metavar="N", default=100_000, help="impressions to simulate (default: %(default)s)"
    )
    parser.add_argument("--verbose", action="store_true", help="leave the libraries' logs on the terminal")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs the command.

    Args:
        args: Parsed arguments, see ``add_parser``.

    Returns:
        Exit code: 0, 1 if a step failed, 2 for a wrong argument, 3 if the model was not good enough to be published.
    """
    from crossrec.pipeline.cli import run as pipeline_run
    from crossrec.pipeline.cli.serve import find_model

    begin = time.monotonic()
    data, root = Path(args.dir, "data"), Path(args.dir, "run")
    code = _simulate(data, args.rows)
    if code:
        return code
    code = pipeline_run.run(
        argparse.Namespace(
            spec=_SPEC,
            data=str(data),
            root=str(root),
            since=None,
            until=None,
            no_cache=False,
            check=False,
            verbose=args.verbose,
        )
    )
    if code:
        return code
    ready = _show(find_model(root, None, None), data)
    if not ready:
        return 1
    print(f"\nThe demo took {time.monotonic() - begin:.0f} s in all. Go on with\n{_commands(root, ready)}")
    return 0


def _simulate(data: Path, rows: int) -> int:
    """Makes the marketplace unless the same one is there."""
    from pydantic import ValidationError

    from crossrec.pipeline.simulation import SimulationConfig, SimulationError, explain, simulate

    try:
        config = SimulationConfig(rows=rows)
        if _is_there(data, config):
            print(f"Marketplace of {rows:,} impressions: in {data} already")
            return 0
        begin = time.monotonic()
        simulate(config, data, overwrite=data.exists())
    except ValidationError as error:
        print(f"crossrec demo: {explain(error)}", file=sys.stderr)
        return 2
    except SimulationError as error:
        print(f"crossrec demo: {error}", file=sys.stderr)
        return 1
    print(f"Marketplace of {rows:,} impressions simulated in {data}, {time.monotonic() - begin:.1f} s")
    return 0


def _is_there(data: Path, config: SimulationConfig) -> bool:
    """Whether a folder holds all rows of that very simulation."""
    import pyarrow.lib
    import pyarrow.parquet as pq

    from crossrec.pipeline.simulation import SimulationError, load_truth

    wanted = {**config.model_dump(), "users": config.user_count, "items": config.item_count}
    try:
        if load_truth(data).config != wanted or not pq.read_metadata(data / "items.parquet").num_rows:
            return False
        rows = [pq.read_metadata(part).num_rows for part in (data / "interactions").glob("*.parquet")]
        return bool(sum(rows) == config.rows)
    except (SimulationError, OSError, pyarrow.lib.ArrowInvalid):
        return False


def _show(model: Path, data: Path) -> tuple[Visitor, ...]:
    """Serves the model, asks it for each visitor and prints the answers; the visitors, none if that failed."""
    from crossrec.pipeline.cli.demo_visitors import choose_visitors
    from crossrec.pipeline.cli.query import table
    from crossrec.serving.client import ClientConfig, RecommenderClient, RecommenderError
    from crossrec.serving.local_server import LocalServer, ServerStartError

    visitors = choose_visitors(data)
    try:
        with (
            LocalServer(model, model.name) as server,
            RecommenderClient(server.target, model.name, ClientConfig(deadline_seconds=30.0)) as client,
        ):
            version = client.recommend(visitors[0].inputs).model_version
            print(
                f"\nServer    the local one at {server.target} answers with version {version}, asked over gRPC;\n"
                "          times are the whole call as the client sees it, after one call to warm up"
            )
            for visitor in visitors:
                begin = time.perf_counter()
                answer = client.recommend(visitor.inputs, limit=_LIST_LENGTH)
                milliseconds = (time.perf_counter() - begin) * 1e3
                print(f"\n{visitor.story}: answered in {milliseconds:.1f} ms\n{_indent(table(answer.items))}")
    except (ServerStartError, RecommenderError) as error:
        print(f"crossrec demo: {error}", file=sys.stderr)
        return ()
    return visitors


def _indent(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


def _commands(root: Path, visitors: tuple[Visitor, ...]) -> str:
    program = _program()
    queries = [f"  {program} query {query_arguments(visitor.inputs)}" for visitor in (visitors[-1], visitors[0])]
    return "\n".join(
        [f"  {program} serve --root {shlex.quote(str(root))}", "and, while that runs, in another terminal", *queries]
    )


def _program() -> str:
    """How to call this program from here: by its name where PATH leads to it."""
    called = Path(sys.argv[0])
    if called.name != "crossrec":
        return f"{shlex.quote(sys.executable)} -m crossrec.pipeline.cli.main"
    found = shutil.which(called.name)
    return called.name if found and Path(found).samefile(called) else shlex.quote(str(called))


def query_arguments(inputs: Mapping[str, Any]) -> str:
    """The arguments of ``crossrec query`` that send these inputs, quoted for a shell."""
    flags = {"user_id": "--user", "query": "--query", "recent_items": "--recent"}
    words = []
    for name, value in inputs.items():
        text = ",".join(value) if isinstance(value, (list, tuple)) else str(value)
        words += [flags[name], text] if name in flags else ["--feature", f"{name}={text}"]
    return shlex.join(words)
