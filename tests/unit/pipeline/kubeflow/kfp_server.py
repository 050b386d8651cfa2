"""A small server that speaks the REST calls of Kubeflow Pipelines (v2beta1) which starting a run takes.

It imitates ``/apis/v2beta1/`` of KFP's API server: ``healthz``, experiments (list by a filter on the name, create) and
runs (create, get), with its status codes and its errors as ``{"error": …, "code": …, "message": …}``. A created run is
checked as the server does: its experiment must be there, and its parameters must be those of the specification.
It runs nothing: each look at a run shows the next of some prepared states.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

BASE = "/apis/v2beta1"
Look = tuple[str, dict[str, str]]


class KfpServer:
    """What the server knows.

    Attributes:
        looks: The state of the run and of its tasks, look by look; the last one stays.
        token: The bearer token that it demands; "" for none.
        experiments: Name by id.
        runs: Body of the request by id.
        requests: Method and path of every call.
    """

    def __init__(self, looks: Sequence[Look] = (("SUCCEEDED", {}),), token: str = "") -> None:
        self.looks, self.token = list(looks), token
        self.experiments: dict[str, str] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.requests: list[str] = []

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        """Status code and content."""
        self.requests.append(f"{method} {path}")
        if (method, path) == ("GET", "/healthz"):
            return 200, {"multi_user": False}
        if (method, path) == ("GET", "/experiments"):
            (predicate,) = json.loads(query["filter"][0])["predicates"]
            assert predicate["key"] == "display_name" and predicate["operation"] == 1
            named = [
                self._experiment(key) for key, name in self.experiments.items() if name == predicate["stringValue"]
            ]
            return 200, {"experiments": named, "total_size": len(named)} if named else {}
        if (method, path) == ("POST", "/experiments"):
            key = str(uuid.uuid4())
            self.experiments[key] = body["display_name"]
            return 200, self._experiment(key)
        if (method, path) == ("POST", "/runs"):
            return self._create(body)
        if method == "GET" and path.startswith("/runs/"):
            return self._look(path.removeprefix("/runs/"))
        return 404, {"error": "Not Found", "code": 5, "message": "Not Found"}

    def _experiment(self, key: str) -> dict[str, str]:
        return {"experiment_id": key, "display_name": self.experiments[key]}

    def _create(self, body: dict[str, Any]) -> tuple[int, Any]:
        if body["experiment_id"] not in self.experiments:
            return 404, {
                "error": "no experiment",
                "code": 5,
                "message": f"Experiment {body['experiment_id']} not found",
            }
        spec = body["pipeline_spec"].get("pipeline_spec", body["pipeline_spec"])
        declared = spec["root"]["inputDefinitions"]["parameters"]
        given = body["runtime_config"].get("parameters", {})
        unknown = sorted(set(given) - set(declared))
        if unknown:
            return 400, {"error": "bad parameter", "code": 3, "message": f"unknown parameters {unknown}"}
        key = str(uuid.uuid4())
        self.runs[key] = body
        return 200, {"run_id": key, "display_name": body["display_name"], "state": "PENDING"}

    def _look(self, key: str) -> tuple[int, Any]:
        if key not in self.runs:
            return 404, {"error": "no run", "code": 5, "message": f"Run {key} not found"}
        state, tasks = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        details = [
            {"task_id": f"{name}-id", "display_name": name, "state": task, "run_id": key}
            for name, task in tasks.items()
        ]
        return 200, {"run_id": key, "state": state, "run_details": {"task_details": details}}


@contextmanager
def serving(server: KfpServer):
    """Serve on a free port of this machine; the address."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self, method: str) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = json.loads(self.rfile.read(length)) if length else None
            address = urlsplit(self.path)
            if server.token and self.headers.get("Authorization") != f"Bearer {server.token}":
                code, content = 401, {"error": "unauthenticated", "code": 16, "message": "Request header is missing"}
            elif not address.path.startswith(BASE):
                code, content = 404, {"error": "Not Found", "code": 5, "message": "Not Found"}
            else:
                path = address.path.removeprefix(BASE)
                code, content = server.answer(method, path, parse_qs(address.query), body)
            text = json.dumps(content).encode("utf-8")
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def do_GET(self) -> None:
            self._answer("GET")

        def do_POST(self) -> None:
            self._answer("POST")

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{http.server_port}"
        finally:
            http.shutdown()
