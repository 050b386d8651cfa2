"""Sending a specification to Kubeflow Pipelines, and watching what becomes of it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kfp
import kfp_server_api
import urllib3
import yaml

from crossrec.pipeline.kubeflow.validator import validate

ENDED = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")
_FORBIDDEN = (401, 403)
_REFUSED = 400
_HEALTH = "/apis/v2beta1/healthz"


class SubmitError(RuntimeError):
    """What hinders the run, and what to do."""


@dataclass(frozen=True)
class Specification:
    """A compiled file that was read and checked.

    Attributes:
        file: Where it lies.
        spec: Its first document.
        platform: Its second one, or empty.
    """

    file: Path
    spec: Mapping[str, Any]
    platform: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Name of the pipeline."""
        return str(self.spec["pipelineInfo"]["name"])

    @property
    def tasks(self) -> Collection[str]:
        """Ids of the nodes."""
        names: Collection[str] = self.spec["root"]["dag"]["tasks"].keys()
        return names

    @property
    def mounts(self) -> set[str]:
        """Paths that every node mounts."""
        executors = self.platform.get("platforms", {}).get("kubernetes", {}).get("deploymentSpec", {})
        pods = executors.get("executors", {}).values()
        return {mount["mountPath"] for pod in pods for mount in pod.get("pvcMount", ())}


@dataclass(frozen=True)
class Endpoint:
    """Where Kubeflow Pipelines answers.

    Attributes:
        host: Its address, with http:// or https://.
        namespace: The user's namespace, in a multi-user installation; "" otherwise.
        token_file: File with a bearer token; "" for none.
        certificate: File of the authority that signed its certificate; "" for the system's.
    """

    host: str
    namespace: str = ""
    token_file: str = ""
    certificate: str = ""

    def connect(self) -> Any:
        """The SDK's client.

        Raises:
            SubmitError: It does not answer, or a file cannot be read.
        """
        token = None
        if self.token_file:
            try:
                token = Path(self.token_file).read_text(encoding="utf-8").strip()
            except OSError as error:
                reason = f"--token-file {self.token_file}: {error.strerror}. Name a file that can be read"
                raise SubmitError(reason) from error
        self._knock(token)
        with _explained(self.host):
            return kfp.Client(
                host=self.host,
                existing_token=token,
                ssl_ca_cert=self.certificate or None,
                **({"namespace": self.namespace} if self.namespace else {}),
            )

    def _knock(self, token: str | None) -> None:
        """Asks once: the SDK would ask for half a minute, and not say that it was refused."""
        manager = urllib3.PoolManager(**({"ca_certs": self.certificate} if self.certificate else {}))
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        with _explained(self.host):
            answer = manager.request("GET", f"{self.host}{_HEALTH}", headers=headers, retries=False, timeout=30.0)
        if answer.status >= _REFUSED:
            raise SubmitError(_refusal(self.host, answer.status, answer.data.decode("utf-8", "replace")))


@dataclass(frozen=True)
class Run:
    """What a run is called.

    Attributes:
        experiment: Name of the experiment; made if it is new.
        name: Name of the run.
        service_account: Kubernetes' account of its pods; "" for the installation's.
        cached: Whether results of earlier runs may be taken, where the specification allows it.
    """

    experiment: str
    name: str
    service_account: str = ""
    cached: bool = True


def read_specification(file: str | Path) -> Specification:
    """Reads and checks a compiled file.

    Raises:
        SubmitError: It cannot be read, or is something else.
        SpecificationError: It does not hang together.
    """
    try:
        documents = list(yaml.safe_load_all(Path(file).read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise SubmitError(f"{file}: cannot be read ({error}). Make it with: crossrec compile SPEC -o {file}") from error
    except yaml.YAMLError as error:
        raise SubmitError(f"{file}: is not YAML: {' '.join(str(error).split())}. Compile it again") from error
    first, second = (*documents, None, None)[:2]
    if not isinstance(first, dict) or "tasks" not in first.get("root", {}).get("dag", {}):
        raise SubmitError(f"{file}: is no compiled pipeline. Make one with: crossrec compile SPEC -o pipeline.yaml")
    validate(first, second)
    return Specification(Path(file), first, second or {})


def check_parameters(specification: Specification, given: Mapping[str, str]) -> None:
    """Refuses parameters that a node would trip over hours later.

    Raises:
        SubmitError: One is not known, or its value cannot work.
    """
    known = specification.spec["root"].get("inputDefinitions", {}).get("parameters", {})
    for name, value in given.items():
        if name not in known:
            raise SubmitError(f"--param {name}: the pipeline has no such parameter. Known: {', '.join(sorted(known))}")
        mounted = any(value == path or value.startswith(f"{path}/") for path in specification.mounts)
        if name == "seed" and value and not value.isdecimal():
            raise SubmitError(f"--param seed: {value!r} is no whole number. Give one, as in seed=7")
        if (name == "root" or (name == "data" and not value.startswith("gs://"))) and not mounted:
            also = " nor on gs://" if name == "data" else ""
            raise SubmitError(
                f"--param {name}: {value!r} is on no volume{also}. "
                f"Give a path below: {', '.join(sorted(specification.mounts)) or '(no volume is mounted)'}"
            )


def submit(
    client: Any, endpoint: Endpoint, specification: Specification, run: Run, parameters: Mapping[str, str]
) -> str:
    """Starts a run.

    Args:
        client: The SDK's client, of ``Endpoint.connect``.
        endpoint: Where it is.
        specification: What to run.
        run: What it is called.
        parameters: Its parameters; the others have their defaults.

    Returns:
        The run's id.

    Raises:
        SubmitError: Kubeflow refused it.
    """
    with _explained(endpoint.host):
        started = client.create_run_from_pipeline_package(
            str(specification.file),
            arguments=dict(parameters),
            run_name=run.name,
            experiment_name=run.experiment,
            namespace=endpoint.namespace or None,
            service_account=run.service_account or None,
            # Never True: that would switch caching on for the release step too.
            enable_caching=None if run.cached else False,
        )
        return str(started.run_id)


def watch(
    client: Any,
    endpoint: Endpoint,
    run_id: str,
    on_change: Callable[[str, str], None],
    timing: tuple[float, float] = (5.0, float("inf")),
) -> dict[str, str]:
    """Waits until a run has ended.

    The SDK's own waiting does not see that a run was cancelled, and tells nothing of the tasks.

    Args:
        client: The SDK's client.
        endpoint: Where it is.
        run_id: The run.
        on_change: Called with a task and its state, whenever that is new.
        timing: Seconds between two looks, and seconds until patience ends.

    Returns:
        State by task, and under "" that of the run.

    Raises:
        SubmitError: It cannot be looked at, or takes too long; it runs on then.
    """
    pause, patience = timing
    begin = time.monotonic()
    known: dict[str, tuple[str, str]] = {}
    while True:
        with _explained(endpoint.host):
            run = client.get_run(run_id)
        for task in (run.run_details.task_details if run.run_details else None) or ():
            # Several tasks may have one name: a retried one, and helpers of KFP's own.
            seen = (task.display_name, task.state)
            if task.state and known.get(task.task_id) != seen:
                known[task.task_id] = seen
                on_change(*seen)
        if run.state in ENDED:
            return {**{name: state for name, state in known.values()}, "": run.state}
        if time.monotonic() - begin > patience:
            raise SubmitError(f"run {run_id} has not ended within {patience:g} s; it goes on. Its state is {run.state}")
        time.sleep(pause)


def _refusal(host: str, status: int, said: str) -> str:
    mend = "Give a token with --token-file" if status in _FORBIDDEN else "The server's log says more"
    return f"{host}: Kubeflow Pipelines refused it ({status}): {' '.join(said.split())[:400]}. {mend}"


@contextlib.contextmanager
def _explained(host: str) -> Iterator[None]:
    """Turns the SDK's exceptions into words."""
    try:
        yield
    except kfp_server_api.ApiException as error:
        raise SubmitError(_refusal(host, error.status, str(error.body or error.reason))) from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise SubmitError(
            f"--endpoint {host}: no answer ({type(error).__name__}). Check the address; from outside of the cluster: "
            "kubectl -n kubeflow port-forward svc/ml-pipeline 8888, and --endpoint http://127.0.0.1:8888"
        ) from error
