"""`crossrec query`: ask a served model and print what it recommends. Needs the light core only."""

from __future__ import annotations

import argparse
import json
import math
import sys
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crossrec.serving.client import ClientConfig, InputSpec, Item, ItemList, RecommenderClient, SignatureSpec

_DEFAULT_TARGET = "127.0.0.1:8500"
_MAX_CELL = 48
_GAP = "  "


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser of `crossrec`.

    Args:
        subparsers: What ``ArgumentParser.add_subparsers`` returned.
    """
    parser = subparsers.add_parser(
        "query",
        help="ask a served model for recommendations",
        description="Ask a served model over gRPC and print the items that it recommends.",
        epilog="Example: crossrec query --user u17 --query 'red shoes' --feature device=phone --k 5",
    )
    parser.add_argument(
        "--target",
        action="append",
        metavar="HOST:PORT",
        help=f"address of the server (default: {_DEFAULT_TARGET}); several share the calls",
    )
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--version", type=int, metavar="N", help="ask this version (default: the server's latest)")
    choice.add_argument("--label", help="ask the version with this label, such as stable or canary")
    parser.add_argument("--tls", action="store_true", help="encrypt; --ca, --cert and --key do so too")
    parser.add_argument("--ca", metavar="FILE", help="PEM file of the authority that signed the server's certificate")
    parser.add_argument("--cert", metavar="FILE", help="PEM file of this client's certificate, for mutual TLS")
    parser.add_argument("--key", metavar="FILE", help="PEM file of its key")
    parser.add_argument("--model", default="recommender", help="name of the model (default: %(default)s)")
    parser.add_argument("--user", metavar="ID", help="user id: fills the input user_id")
    parser.add_argument("--query", metavar="TEXT", help="search text: fills the input query")
    parser.add_argument(
        "--feature",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="any other input; several values of a multi-valued one by commas or by giving it again",
    )
    parser.add_argument("--recent", metavar="ID,ID", help="items seen lately, the latest first: fills recent_items")
    parser.add_argument("--exclude", metavar="ID,ID", help="items that must not be recommended")
    parser.add_argument("--rank", metavar="ID,ID", help="score these items instead of searching the catalogue")
    parser.add_argument("--k", type=int, default=10, help="number of items to print (default: %(default)s)")
    parser.add_argument("--deadline", type=float, default=5.0, help="seconds to wait (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Ask and print.

    Args:
        args: Parsed arguments, see `add_parser`.

    Returns:
        Exit code: 0, 1 where the call failed, 2 where an argument is wrong.
    """
    from crossrec.serving.client import RecommenderClient, RecommenderError

    try:
        if args.k < 1:
            raise ValueError(f"--k={args.k}: give 1 or more")
        with RecommenderClient(args.target or _DEFAULT_TARGET, args.model, _config(args)) as client:
            answer = _ask(client, args)
    except ValueError as error:  # RequestError is one
        print(f"crossrec query: {error}", file=sys.stderr)
        return 2
    except RecommenderError as error:
        print(f"crossrec query: {error}", file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps(_as_json(args.model, answer, args.k), ensure_ascii=False, allow_nan=False))
        return 0
    print(table(answer.items[: args.k]) if len(answer) else "No items: the model found none for this request.")
    print(f"\nmodel {args.model}, version {answer.model_version}, answered in {answer.latency_ms:.1f} ms")
    return 0


def _config(args: argparse.Namespace) -> ClientConfig:
    from crossrec.serving.client import ClientConfig, TlsConfig

    tls = None
    if args.tls or args.ca or args.cert or args.key:
        tls = TlsConfig(args.ca, args.cert, args.key)
    return ClientConfig(args.version, args.label, args.deadline, tls=tls)


def _ask(client: RecommenderClient, args: argparse.Namespace) -> ItemList:
    from crossrec.serving.contract import names

    metadata = client.metadata()
    key = metadata.signature_key(names.RECOMMEND if args.rank is None else names.RANK)
    signature = metadata.signatures[key]
    inputs: dict[str, Any] = {}
    for flag, name, value in (("--user", names.USER_ID, args.user), ("--query", names.QUERY, args.query)):
        if value is not None:
            inputs[name] = _parse(flag, _spec(flag, name, signature), [value])
    for flag, name, text in (
        ("--recent", names.RECENT_ITEMS, args.recent),
        ("--exclude", names.EXCLUDE_ITEMS, args.exclude),
        ("--rank", names.CANDIDATE_ITEMS, args.rank),
    ):
        if text is not None:
            inputs[name] = _parse(flag, _spec(flag, name, signature), [text])
    for name, values in _features(args.feature).items():
        flag = f"--feature {name}"
        inputs[name] = _parse(flag, _spec(flag, name, signature), values)
    return client.recommend(inputs) if args.rank is None else client.rank(inputs)


def _features(pairs: Sequence[str]) -> dict[str, list[str]]:
    features: dict[str, list[str]] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not name or not equals:
            raise ValueError(f"--feature {pair!r}: has no name or no '='. Write it as name=value")
        features.setdefault(name, []).append(value)
    return features


def _spec(flag: str, name: str, signature: SignatureSpec) -> InputSpec:
    if name not in signature.inputs:
        known = "; ".join(str(spec) for spec in signature.inputs.values())
        raise ValueError(f"{flag}: the model has no input {name!r}. Its inputs are {known}")
    return signature.inputs[name]


def _parse(flag: str, spec: InputSpec, texts: list[str]) -> Any:
    if spec.multi_valued:
        cells = [cell.strip() for text in texts for cell in text.split(",") if cell.strip()]
        return [_cell(flag, spec, cell) for cell in cells]
    if len(texts) > 1:
        raise ValueError(f"{flag}: given {len(texts)} times, but {spec} takes one value. Give it once")
    return _cell(flag, spec, texts[0])


def _cell(flag: str, spec: InputSpec, text: str) -> Any:
    if spec.dtype == "string":
        return text
    try:
        return int(text) if spec.dtype.startswith("int") else float(text)
    except ValueError:
        raise ValueError(f"{flag}={text!r}: {spec} takes a number. Give one") from None


def _as_json(model: str, answer: ItemList, limit: int) -> dict[str, Any]:
    return {
        "model": model,
        "model_version": answer.model_version,
        "latency_ms": round(answer.latency_ms, 3),
        "items": [
            {
                "id": item.id,
                "score": _number(item.score),
                **{k: _number(v) for k, v in item.attributes.items()},
            }
            for item in answer.items[:limit]
        ],
    }


def _number(value: Any) -> Any:
    # JSON has no infinities and no NaN.
    return None if isinstance(value, float) and not math.isfinite(value) else value


def table(items: Sequence[Item]) -> str:
    """Lay items out for a terminal.

    Args:
        items: At least one.

    Returns:
        A head, a rule and a line per item: place, id, the items' attributes, score.
    """
    columns = list(items[0].attributes)
    rows = [["", "item", *columns, "score"]]
    for place, item in enumerate(items, start=1):
        attributes = [_text(item.attributes[column]) for column in columns]
        rows.append([str(place), _text(item.id), *attributes, f"{item.score:.4f}"])
    widths = [max(map(_width, cells)) for cells in zip(*rows)]
    numeric = {0, len(widths) - 1}
    numeric |= {place for place, name in enumerate(columns, 2) if isinstance(items[0].attributes[name], (int, float))}
    lines = [
        _GAP.join(_pad(cell, widths[place], place in numeric) for place, cell in enumerate(row)).rstrip()
        for row in rows
    ]
    lines.insert(1, _GAP.join("─" * width for width in widths))
    return "\n".join(lines)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    # Control characters in a catalogue's text must not reach the terminal.
    text = "".join(" " if unicodedata.category(letter) == "Cc" else letter for letter in str(value))
    return text if len(text) <= _MAX_CELL else text[: _MAX_CELL - 1] + "…"


def _width(text: str) -> int:
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )


def _pad(text: str, width: int, right: bool) -> str:
    space = " " * (width - _width(text))
    return space + text if right else text + space
