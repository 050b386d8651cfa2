"""Options of `crossrec release`, and what they stand for."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_LIMITS = {
    "load-timeout": ("load_timeout_seconds", float, "seconds for a version to become AVAILABLE"),
    "call-timeout": ("call_timeout_seconds", float, "seconds for one request to a replica"),
    "requests": ("requests", int, "requests that measure latency and errors; 0 measures nothing"),
    "error-rate": ("error_rate", float, "largest share of them that may fail, such as 0.01"),
    "tolerance": ("tolerance", float, "largest difference of a float to its golden value"),
    "min-replicas": ("min_replicas", int, "replicas that must answer before anything is begun"),
}


def common() -> argparse.ArgumentParser:
    """Make the options that every action has.

    Returns:
        A parser to derive others from.
    """
    parent = argparse.ArgumentParser(add_help=False)
    where = parent.add_argument_group("where")
    where.add_argument(
        "--root",
        type=Path,
        default=Path("crossrec-run"),
        metavar="DIR",
        help="root of the run; models lie in DIR/serving (default: %(default)s)",
    )
    where.add_argument("--serving-root", type=Path, metavar="DIR", help="directory of the models, instead of --root")
    where.add_argument("--model", metavar="NAME", help="model or set; may be left out where there is one")
    where.add_argument("--config-map", metavar="NAMESPACE/NAME", help="keep the state in this Kubernetes ConfigMap")
    where.add_argument("--by", metavar="WHO", help="who acts, for the history (default: user@host)")
    where.add_argument("--json", action="store_true", help="print one JSON object for scripts")
    return parent


def add_configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``configure``.

    Args:
        parser: The action's parser.
    """
    parser.add_argument(
        "--replica",
        action="append",
        metavar="HOST:PORT",
        help="all servers, one each; dns:///HOST:PORT for all of a name",
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=MODEL,MODEL", help="models that move together"
    )
    parser.add_argument("--server-root", metavar="DIR", help="directory of the models as the servers see it")
    parser.add_argument("--labels-in-file", choices=("yes", "no"), help="whether models.config carries the labels")
    parser.add_argument(
        "--file-polled", choices=("yes", "no"), help="whether the servers read models.config again and again"
    )
    parser.add_argument("--keep-previous", choices=("yes", "no"), help="whether the last stable version stays loaded")
    parser.add_argument("--memory-limit", metavar="SIZE", help="what one replica may use, such as 8G; none if unknown")
    parser.add_argument(
        "--other-models", type=Path, metavar="FILE", help="models.config of further models of the servers"
    )
    parser.add_argument(
        "--tls-authority", default="", metavar="FILE", help="certificate authority of the servers; none for plain"
    )
    parser.add_argument("--tls-certificate", default="", metavar="FILE", help="own certificate, for mutual TLS")
    parser.add_argument("--tls-key", default="", metavar="FILE", help="its key")
    parser.add_argument(
        "--p99-ms", metavar="MS", help="limit for the 99th percentile of the latency; none for no limit"
    )
    for flag, (_, kind, text) in _LIMITS.items():
        parser.add_argument(f"--{flag}", type=kind, metavar="N", help=text)


def sets(texts: Sequence[str]) -> dict[str, list[str]]:
    """Read ``--set``.

    Args:
        texts: ``NAME=MODEL,MODEL``, or the name of one model.

    Returns:
        Models by name of the set.

    Raises:
        UsageError: If a text is neither.
    """
    from crossrec.serving.releases.errors import UsageError

    found = {}
    for text in texts:
        name, _, models = text.partition("=")
        if not re.fullmatch(r"[A-Za-z0-9_.-]+(=[A-Za-z0-9_.,-]+)?", text):
            raise UsageError(f"--set {text!r}: give NAME=MODEL,MODEL, or the name of one model")
        found[name] = models.split(",") if models else [name]
    return found


def fleet_changes(args: argparse.Namespace) -> dict[str, Any]:
    """Read what ``configure`` says of the servers.

    Args:
        args: Parsed arguments.

    Returns:
        New values of fields of ``Fleet``.

    Raises:
        UsageError: If a value is wrong.
    """
    from crossrec.serving.releases.errors import UsageError
    from crossrec.serving.releases.fleet import Tls

    changes: dict[str, Any] = {}
    if args.replica:
        changes["replicas"] = tuple(args.replica)
    if args.server_root is not None:
        changes["server_root"] = args.server_root
    for name in ("labels_in_file", "file_polled", "keep_previous"):
        if getattr(args, name) is not None:
            changes[name] = getattr(args, name) == "yes"
    if args.memory_limit is not None:
        changes["memory_limit_bytes"] = None if args.memory_limit == "none" else _size(args.memory_limit)
    if args.other_models is not None:
        try:
            changes["other_models"] = args.other_models.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"--other-models {args.other_models}: cannot be read: {error}; correct the path"
            ) from error
    if args.tls_authority == "none":
        changes["tls"] = None
    elif args.tls_authority or args.tls_certificate or args.tls_key:
        changes["tls"] = Tls(args.tls_authority, args.tls_certificate, args.tls_key)
    return changes


def limit_changes(args: argparse.Namespace) -> dict[str, Any]:
    """Read what ``configure`` says of the limits.

    Args:
        args: Parsed arguments.

    Returns:
        New values of fields of ``Limits``.

    Raises:
        UsageError: If a value is wrong.
    """
    from crossrec.serving.releases.errors import UsageError

    changes = {}
    for flag, (name, _, _) in _LIMITS.items():
        value = getattr(args, flag.replace("-", "_"))
        if value is not None:
            changes[name] = value
    if args.p99_ms is not None:
        try:
            changes["p99_ms"] = None if args.p99_ms == "none" else float(args.p99_ms)
        except ValueError:
            raise UsageError(f"--p99-ms {args.p99_ms!r}: is no number; give milliseconds, or none") from None
    return changes


def _size(text: str) -> int:
    from crossrec.serving.releases.errors import UsageError

    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([KMGT]?)(?:i?B)?", text)
    if found is None:
        raise UsageError(f"--memory-limit {text!r}: is no size; give bytes, or a number with K, M, G or T, or none")
    return int(float(found[1]) * _UNITS[found[2]])
