"""`crossrec submit`: run a compiled pipeline on Kubeflow Pipelines."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crossrec.pipeline.kubeflow.submit import Specification
    from crossrec.pipeline.terminal import Terminal

ENDPOINT = "KF_PIPELINES_ENDPOINT"
_RELEASE_STEP = "Publisher"


def add_parser(subparsers: Any) -> None:
    """Registers the command."""
    parser = subparsers.add_parser(
        "submit",
        help="run a compiled pipeline on Kubeflow Pipelines",
        description=(
            "Send a file that `crossrec compile` wrote to Kubeflow Pipelines and start a run of it. Exit codes with "
            "--wait: 0 if a model was published, 1 if the run failed, 3 if none was blessed."
        ),
        epilog="Example: crossrec submit pipeline.yaml --endpoint http://127.0.0.1:8888 --param seed=7 --wait",
    )
    parser.add_argument("file", metavar="FILE", help="the compiled pipeline")
    parser.add_argument(
        "--endpoint", metavar="URL", default=os.environ.get(ENDPOINT), help=f"where KFP answers (default: ${ENDPOINT})"
    )
    parser.add_argument("--experiment", metavar="NAME", help="experiment of the run (default: the pipeline's name)")
    parser.add_argument("--name", metavar="NAME", help="name of the run (default: pipeline and time)")
    parser.add_argument(
        "--param", metavar="NAME=VALUE", action="append", default=[], help="a parameter of the run; may be repeated"
    )
    parser.add_argument("--namespace", metavar="NAME", default="", help="namespace, where several users share one KFP")
    parser.add_argument("--service-account", metavar="NAME", default="", help="account of the run's pods")
    parser.add_argument("--token-file", metavar="FILE", default="", help="file with a bearer token")
    parser.add_argument(
        "--ca-cert", metavar="FILE", default="", help="authority that signed the endpoint's certificate"
    )
    parser.add_argument("--no-cache", action="store_true", help="take nothing from earlier runs")
    parser.add_argument("--wait", action="store_true", help="wait for the end and show what happens")
    parser.add_argument("--poll", metavar="SECONDS", type=float, default=5.0, help="between two looks (default: 5)")
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=float, default=float("inf"), help="how long to wait (default: for ever)"
    )
    parser.add_argument("--verbose", action="store_true", help="leave the libraries' logs on the terminal")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Runs the command; see the parser for the exit codes."""
    if not options.endpoint:
        print(f"--endpoint: missing. Give the address of Kubeflow Pipelines, or set {ENDPOINT}", file=sys.stderr)
        return 2
    if not options.endpoint.startswith(("http://", "https://")):
        print(f"--endpoint {options.endpoint}: is no URL. Begin with http:// or https://", file=sys.stderr)
        return 2
    pairs = [text.partition("=") for text in options.param]
    wrong = [text for text, (name, sign, _) in zip(options.param, pairs) if not (name and sign)]
    if wrong:
        print(f"--param {wrong[0]}: is not NAME=VALUE, as in seed=7", file=sys.stderr)
        return 2

    from crossrec.pipeline.terminal import quiet_libraries

    with tempfile.NamedTemporaryFile(suffix=".log") as log, quiet_libraries(log.name, options.verbose) as terminal:
        from crossrec.pipeline.kubeflow import submit
        from crossrec.pipeline.kubeflow.validator import SpecificationError

        try:
            specification = submit.read_specification(options.file)
            submit.check_parameters(specification, {name: value for name, _, value in pairs})
        except SpecificationError as error:
            count = f"{len(error.problems)} problem{'s' if len(error.problems) != 1 else ''}"
            terminal.error.write("\n".join([f"{options.file}: {count}", *(f"  {line}" for line in error.problems), ""]))
            return 2
        except submit.SubmitError as error:
            terminal.error.write(f"{error}\n")
            return 2
        try:
            return _submit(options, specification, {name: value for name, _, value in pairs}, terminal)
        except submit.SubmitError as error:
            terminal.error.write(f"{error}\n")
            return 1


def _submit(
    options: argparse.Namespace, specification: Specification, parameters: dict[str, str], terminal: Terminal
) -> int:
    from crossrec.pipeline.kubeflow import submit

    endpoint = submit.Endpoint(options.endpoint.rstrip("/"), options.namespace, options.token_file, options.ca_cert)
    run = submit.Run(
        experiment=options.experiment or specification.name,
        name=options.name or f"{specification.name} {datetime.now():%Y-%m-%d %H:%M:%S}",
        service_account=options.service_account,
        cached=not options.no_cache,
    )
    client = endpoint.connect()
    run_id = submit.submit(client, endpoint, specification, run, parameters)
    terminal.out.write(f"Run '{run.name}' in experiment '{run.experiment}'\n{endpoint.host}/#/runs/details/{run_id}\n")
    terminal.out.flush()
    if not options.wait:
        return 0

    def show(task: str, state: str) -> None:
        # KFP counts its own helpers (drivers, the root) among the tasks.
        if task in specification.tasks:
            terminal.out.write(f"  {datetime.now():%H:%M:%S}  {task:<30} {state.lower()}\n")
            terminal.out.flush()

    states = submit.watch(client, endpoint, run_id, show, (options.poll, options.timeout))
    if states[""] != "SUCCEEDED":
        failed = sorted(task for task, state in states.items() if state == "FAILED" and task in specification.tasks)
        blame = f": {', '.join(failed)}. Their logs are on the page above" if failed else ""
        terminal.error.write(f"The run ended as {states[''].lower()}{blame}\n")
        return 1
    if not set(states) & set(specification.tasks):
        terminal.out.write("The run succeeded. This server tells nothing of its tasks; the page above does\n")
    elif states.get(_RELEASE_STEP) != "SUCCEEDED":
        terminal.out.write("Nothing was published: the model was not blessed. Evaluation and ServingCheck say why\n")
        return 3
    else:
        terminal.out.write("The run succeeded: a model was published\n")
    return 0
