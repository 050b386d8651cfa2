"""`crossrec release`: list, canary, promote and roll back what is served. Needs the light core only."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossrec.pipeline.cli import release_options as options
from crossrec.pipeline.cli import release_output as output

if TYPE_CHECKING:
    from crossrec.serving.releases.commands import Options
    from crossrec.serving.releases.context import Context
    from crossrec.serving.releases.operations import Outcome
    from crossrec.serving.releases.release import Release
    from crossrec.serving.releases.state import ReleaseState

_DESCRIPTION = """\
Say which version of a model the servers answer with, and move it safely: a version is loaded, asked its golden requests
on every replica, and only then gets the label that clients ask for. Clients ask for the label "stable" (and "canary").

First, once:                  crossrec release configure --replica HOST:PORT --replica HOST:PORT
                              crossrec release promote 1
A new version:                crossrec release canary 2 --percent 5 --watch 600
                              crossrec release promote 2
Something is wrong:           crossrec release rollback --reason 'clicks fell'
A server was down, or a command was killed:
                              crossrec release reconcile
"""
_EPILOG = """\
Exit codes: 0 well; 1 it could not be done, or a replica is not where it should be; 2 wrong usage; 3 the version was not
good enough and was withdrawn.
"""


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser of `crossrec`.

    Args:
        subparsers: What ``ArgumentParser.add_subparsers`` returned.
    """
    parser = subparsers.add_parser(
        "release",
        help="canary, promote and roll back served versions",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    common = options.common()

    def add(name: str, help_text: str, action: Callable[..., int]) -> argparse.ArgumentParser:
        added: argparse.ArgumentParser = actions.add_parser(
            name, help=help_text, description=help_text, parents=[common]
        )
        added.set_defaults(run=run, act=action)
        return added

    add("list", "list the versions and what each of them is", _list)
    show = add("show", "show what is wanted and what every replica serves", _show)
    show.add_argument("version", nargs="?", metavar="VERSION", help="show this version instead")
    canary = add("canary", "put a version on trial with a share of the traffic", _canary)
    canary.add_argument("version", metavar="VERSION")
    canary.add_argument("--percent", type=float, required=True, metavar="P", help="share of the traffic, 0 to 100")
    canary.add_argument("--watch", type=float, default=0.0, metavar="SECONDS", help="go on checking it for so long")
    canary.add_argument("--every", type=float, default=10.0, metavar="SECONDS", help="time between two checks (10)")
    canary.add_argument("--guard", default="", metavar="COMMAND", help="also withdraw it when this shell command fails")
    promote = add("promote", "make a version the stable one", _promote)
    promote.add_argument("version", metavar="VERSION")
    rollback = add(
        "rollback", "withdraw the canary; without one, or with VERSION, go back to an earlier version", _rollback
    )
    rollback.add_argument(
        "version", nargs="?", metavar="VERSION", help="where to go back to (default: the last good one)"
    )
    pin = add("pin", "keep a version's files, and its model loaded if wanted", _pin)
    pin.add_argument("version", metavar="VERSION")
    pin.add_argument("--loaded", action="store_true", help="keep it loaded too, so that a rollback to it takes seconds")
    pin.add_argument("--off", action="store_true", help="end the pin")
    for action in (canary, promote, rollback, pin):
        needed = action is rollback
        action.add_argument("--reason", default="", required=needed, metavar="WHY", help="for the history")
        action.add_argument("--ignore-memory", action="store_true", help="load also where it may not fit")
    for action in (canary, promote):
        action.add_argument("--force", action="store_true", help="release it although it was rejected before")
        action.add_argument("--requests", type=Path, metavar="FILE", help="recorded requests to measure it with")
    gc = add("gc", "remove the files of versions that nobody needs", _gc)
    gc.add_argument("--keep", type=int, default=3, metavar="N", help="former stable versions that stay (default: 3)")
    gc.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    past = add("history", "show who did what, when and why", _history)
    past.add_argument("--limit", type=int, default=20, metavar="N", help="last events; 0 shows all (default: 20)")
    past.add_argument("--verbose", action="store_true", help="each phase and each replica's answer too")
    reconcile = add("reconcile", "finish or undo what was left, and bring every replica to what is wanted", _reconcile)
    reconcile.add_argument(
        "--watch", type=float, default=0.0, metavar="SECONDS", help="do it again and again, so often"
    )
    reconcile.add_argument("--take-over", action="store_true", help="with --config-map: the other process is dead")
    diff = add("diff", "compare two versions", _diff)
    diff.add_argument("first", metavar="A")
    diff.add_argument("second", metavar="B")
    options.add_configure(
        add("configure", "name the servers, the sets and the limits; what is left out stays", _configure)
    )


def run(args: argparse.Namespace) -> int:
    """Carry out an action.

    Args:
        args: Parsed arguments, see `add_parser`.

    Returns:
        Exit code, see the command's help.
    """
    from crossrec.serving.releases.errors import InvalidBundleError, ReleaseError, UsageError, WithdrawnError

    try:
        return int(args.act(args, _context(args)))
    except ReleaseError as error:
        code = (
            3 if isinstance(error, WithdrawnError) else 2 if isinstance(error, (UsageError, InvalidBundleError)) else 1
        )
        if args.json:
            print(json.dumps({"error": str(error), "kind": type(error).__name__, "exit_code": code}))
        print(f"crossrec release {args.action}: {error}", file=sys.stderr)
        return code
    except KeyboardInterrupt:
        print(
            "\nstopped; `crossrec release show` tells where things stand, `crossrec release reconcile` "
            "finishes or undoes "
            "what was under way",
            file=sys.stderr,
        )
        return 130


def _context(args: argparse.Namespace) -> Context:
    from crossrec.serving.releases.context import Context, this_user
    from crossrec.serving.releases.errors import ReleaseError, UsageError
    from crossrec.serving.releases.metadata import record_event

    root = (args.serving_root or args.root / "serving").absolute()
    if not root.is_dir():
        flag = "--serving-root" if args.serving_root else "--root"
        raise UsageError(f"{flag}: {root} is no directory; name the directory that holds the models")
    metadata = args.root / "metadata.sqlite"

    def on_event(event: Mapping[str, Any]) -> None:
        try:
            record_event(metadata, root, event)
        except ReleaseError as error:  # the release itself is done, and the ledger has it
            print(f"warning: {error}", file=sys.stderr)

    fields: dict[str, Any] = {"actor": args.by or this_user(), "progress": _progress()}
    if args.serving_root is None and metadata.is_file():
        fields["on_event"] = on_event
    if args.config_map:
        from crossrec.serving.releases.config_map_store import ConfigMapStore

        namespace, _, name = args.config_map.rpartition("/")
        fields["store"] = ConfigMapStore(name, namespace or "default")
    return Context.for_root(root, **fields)


def _progress() -> Callable[[str], None]:
    begin = time.monotonic()
    return lambda line: print(f"[{time.monotonic() - begin:6.1f} s] {line}", file=sys.stderr, flush=True)


def _where(args: argparse.Namespace, context: Context) -> tuple[ReleaseState, str]:
    from crossrec.serving.releases.errors import UsageError

    state = context.require_state()
    if args.model is not None:
        state.release_set(args.model)
        return state, str(args.model)
    if len(state.sets) != 1:
        raise UsageError(f"--model: is not given, and there are {', '.join(state.sets) or 'none'}; name one")
    return state, next(iter(state.sets))


def _release(args: argparse.Namespace, context: Context, text: str | None = None) -> tuple[str, Release]:
    from crossrec.serving.releases.release import parse_release

    state, name = _where(args, context)
    return name, parse_release(args.version if text is None else text, state.release_set(name).models)


def _options(args: argparse.Namespace) -> Options:
    from crossrec.serving.releases.commands import Options

    return Options(
        reason=args.reason,
        force=getattr(args, "force", False),
        ignore_memory=args.ignore_memory,
        requests=getattr(args, "requests", None),
    )


def _print(args: argparse.Namespace, document: Any, text: str) -> int:
    print(json.dumps(document, ensure_ascii=False, default=_plain) if args.json else text)
    return 0


def _plain(value: Any) -> Any:
    from crossrec.serving.releases.release import Release

    if isinstance(value, Release):
        return value.by_model()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    raise TypeError(f"{type(value).__name__} has no place in JSON")


def _ended(args: argparse.Namespace, outcome: Outcome, begin: float) -> int:
    seconds = time.monotonic() - begin
    document = {
        "kind": outcome.operation.kind.value,
        "set": outcome.operation.set_name,
        "from": outcome.operation.source,
        "to": outcome.operation.target,
        "set_state": outcome.state.release_set(outcome.operation.set_name),
        "replicas": [answer.to_json() for answer in outcome.answers],
        "behind": outcome.behind,
        "seconds": round(seconds, 3),
    }
    _print(args, document, output.outcome_text(outcome, seconds))
    return int(any(answer.outcome == "failed" for answer in outcome.answers))


def _list(args: argparse.Namespace, context: Context) -> int:
    from crossrec.serving.releases.overview import version_rows

    state, name = _where(args, context)
    rows = version_rows(context, state.release_set(name))
    return _print(args, {"set": name, "versions": rows}, output.rows_text(rows))


def _show(args: argparse.Namespace, context: Context) -> int:
    from crossrec.serving.releases.overview import history, replica_views, version_rows
    from crossrec.serving.releases.saved_model import describe_model

    state, name = _where(args, context)
    if args.version is None:
        views = replica_views(state)
        document = {"state": state, "models_config": context.store.models_config, "replicas": views}
        _print(args, document, output.state_text(state, views, context.store.models_config))
        return int(state.operation is not None or any(view.verdict != "in sync" for view in views))
    _, release = _release(args, context)
    context.require_release(release)
    wanted = release.by_model()
    rows = [row for row in version_rows(context, state.release_set(name)) if wanted[row.model] == row.version]
    models = {model: describe_model(context.version_dir(model, version)) for model, version in release.versions}
    events = [
        event
        for event in history(context.ledger, name, 0, phases=False)
        if wanted in (event.get("to"), event.get("from"))
    ]
    document = {
        "versions": rows,
        "models": {m: {"signatures": one.signatures, "ops": sorted(one.ops)} for m, one in models.items()},
        "history": events,
    }
    return _print(args, document, output.version_text(rows, models, events))


def _canary(args: argparse.Namespace, context: Context) -> int:
    from crossrec.serving.releases.commands import canary
    from crossrec.serving.releases.watch import Watch, watch_canary

    watch = Watch(args.watch, args.every, args.guard)
    name, release = _release(args, context)
    begin = time.monotonic()
    outcome = canary(context, name, release, args.percent, _options(args))
    if args.watch or args.guard:
        looks = watch_canary(context, name, release, watch, _options(args))
        context.progress(f"canary {release} passed {looks} checks")
    return _ended(args, outcome, begin)


def _promote(args: argparse.Namespace, context: Context) -> int:
    from crossrec.serving.releases.commands import promote

    name, release = _release(args, context)
    begin = time.monotonic()
    return _ended(args, promote(context, name, release, _options(args)), begin)


def _rollback(args: argparse.Namespace, context: Context) -> int:
    from crossrec.serving.releases.commands import rollback, rollback_target
    from crossrec.serving.releases.overview import load_estimate, replica_views

    state, name = _where(args, context)
    one = state.release_set(name)
    release = None if args.version is None else _release(args, context)[1]
    target = release or (None if one.canary else rollback_target(context, one))
    if target is not None:
        views = replica_views(state)
        wanted = target.by_model()
        cold = [
            view.target
            for view in views
            if view.verdict != "down" and any(wanted[model] not in view.versions.get(model, ()) for model in wanted)
        ]
        context.progress(output.rollback_text(one.stable, target, cold, load_estimate(context, target)))
    begin = time.monotonic()
    return _ended(args, rollback(context, name, release, _options(args)), begin)


def _pin(args: argparse.Namespace, context: Context) -> int:
    from crossrec.serving.releases.commands import pin

    name, release = _release(args, context)
    begin = time.monotonic()
    return _ended(args, pin(context, name, release, _options(args), args.loaded, args.off), begin)


def _gc(args: argparse.Namespace, context: Context) -> int:
    from crossrec.serving.releases.collect import collect

    removed, spared = collect(context, args.keep, args.dry_run)
    document = {"removed": removed, "spared": spared, "dry_run": args.dry_run}
    return _print(args, document, output.garbage_text(removed, spared, args.dry_run))


def _history(args: argparse.Namespace, context: Context) -> int:
    from crossrec.serving.releases.overview import history

    events = history(context.ledger, args.model, args.limit, phases=args.verbose or args.json)
    return _print(args, {"events": events}, output.history_text(events, args.verbose))


def _reconcile(args: argparse.Namespace, context: Context) -> int:
    from crossrec.serving.releases.errors import ReleaseError, UsageError
    from crossrec.serving.releases.reconcile import reconcile

    while True:
        try:
            found = reconcile(context, args.take_over)
            _print(args, found, output.reconciled_text(found))
            code = int(bool(found.behind))
        except UsageError:
            raise
        except ReleaseError as error:
            if not args.watch:
                raise
            print(f"crossrec release reconcile: {error}", file=sys.stderr, flush=True)
            code = 1
        if not args.watch:
            return code
        sys.stdout.flush()
        time.sleep(args.watch)


def _diff(args: argparse.Namespace, context: Context) -> int:
    from crossrec.serving.releases.difference import compare_releases

    state, _ = _where(args, context)
    first, second = (_release(args, context, text)[1] for text in (args.first, args.second))
    compared = compare_releases(context, state, first, second)
    return _print(args, {"models": compared}, output.difference_text(compared))


def _configure(args: argparse.Namespace, context: Context) -> int:
    from crossrec.serving.releases.configure import configure

    state = configure(context, options.sets(args.set), options.fleet_changes(args), options.limit_changes(args))
    text = output.configured_text(state, context.store.place, context.store.models_config)
    return _print(args, {"state": state, "place": context.store.place}, text)
