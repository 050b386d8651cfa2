"""Hooks: what they are told, that they cannot break a call, and OpenTelemetry."""

import logging
import subprocess
import sys

import pytest

from crossrec.serving.client import BalanceConfig, CallError, HedgeConfig, Observer, RequestError
from crossrec.serving.client.telemetry import OpenTelemetryObserver
from crossrec.serving.contract import messages
from tests.unit.serving.faulty_server import CODE, ITEMS, Connector, fail, hang
from tests.unit.serving.serve_here import until


class Diary(Observer):
    def __init__(self):
        self.lines = []

    def call_started(self, call):
        self.lines.append(("start", call))

    def headers(self, call):
        return [("x-call", call.operation)]

    def attempt_ended(self, call, attempt):
        self.lines.append(("attempt", call, attempt))

    def call_ended(self, call, end):
        self.lines.append(("end", call, end))

    def target_changed(self, target, ejected):
        self.lines.append(("target", target, ejected))

    def of(self, kind):
        return [line[-1] for line in self.lines if line[0] == kind]


def test_a_call_from_begin_to_end(connect, servers):
    server, diary = servers[0], Diary()
    client = connect(server.target, observers=[diary], version_label="stable")
    server.version = 5
    server.script.append(fail(CODE.UNAVAILABLE))
    client.recommend([{}, {}])
    assert [line[0] for line in diary.lines] == ["start", "attempt", "attempt", "attempt", "end"]
    assert len({line[1] for line in diary.lines}) == 1, "one call"
    call = diary.lines[0][1]
    assert (call.operation, call.model_name, call.batch, call.deadline_seconds) == ("recommend", "m", 2, 30.0)
    assert (call.choice.version, call.choice.version_label) == (None, "stable")
    attempts = diary.of("attempt")
    assert [one.code for one in attempts] == [CODE.OK, CODE.UNAVAILABLE, CODE.OK]
    assert [one.method for one in attempts] == [messages.GET_MODEL_METADATA_METHOD] + [messages.PREDICT_METHOD] * 2
    assert {(one.target, one.hedge, one.probe) for one in attempts} == {(server.target, False, False)}
    (end,) = diary.of("end")
    assert (end.attempts, end.model_version, end.fallback, end.error) == (2, 5, False, None)
    assert sum(one.seconds for one in attempts) <= end.seconds
    assert server.predicts[0].headers["x-call"] == "recommend"


def test_an_error_ends_a_call_too(connect, servers):
    diary = Diary()
    client = connect(servers[0].target, observers=[diary])
    servers[0].script.append(fail(CODE.INTERNAL))
    with pytest.raises(CallError):
        client.recommend({})
    with pytest.raises(RequestError):
        client.recommend({"colour": "red"})
    first, second = diary.of("end")
    assert (first.error.code, first.attempts) == (CODE.INTERNAL, 1)
    assert isinstance(second.error, RequestError)
    assert len(diary.of("start")) == 2


def test_a_fallback_is_told(connect, servers):
    diary = Diary()
    client = connect("127.0.0.1:1", observers=[diary], fallback=lambda failed: ["p"])
    assert client.recommend({}).fallback
    (end,) = diary.of("end")
    assert (end.fallback, end.error, end.attempts) == (True, None, 3)


def test_a_hedge_and_its_loser(connect, servers):
    diary = Diary()
    server = servers[0]
    client = connect(server.target, observers=[diary], hedge=HedgeConfig(0.05))
    client.metadata()
    diary.lines.clear()
    server.script.append(hang)
    client.recommend({})
    assert [(one.code, one.hedge) for one in diary.of("attempt")] == [(CODE.OK, True), (CODE.CANCELLED, False)]


def test_ejection_and_return(connect, servers):
    diary = Diary()
    balance = BalanceConfig(eject_after=1, ejection_seconds=2.0)
    client = connect([server.target for server in servers], observers=[diary], balance=balance)
    bad = servers[1]
    bad.always = fail(CODE.UNAVAILABLE)
    until(lambda: client.recommend({}).ids == ITEMS and diary.of("target"))
    bad.always = None
    until(lambda: client.recommend({}).ids == ITEMS and len(diary.of("target")) == 2)
    assert [line for line in diary.lines if line[0] == "target"] == [
        ("target", bad.target, True), ("target", bad.target, False)
    ]  # fmt: skip
    assert [one.target for one in diary.of("attempt") if one.probe] == [bad.target]


def test_a_broken_hook_is_logged_and_changes_nothing(connect, servers, caplog):
    class Broken(Observer):
        def call_started(self, call):
            raise RuntimeError("no disk")

        def headers(self, call):
            raise RuntimeError("no disk")

        def attempt_ended(self, call, attempt):
            raise RuntimeError("no disk")

        def call_ended(self, call, end):
            raise RuntimeError("no disk")

    diary = Diary()
    client = connect(servers[0].target, observers=[Broken(), diary])
    with caplog.at_level(logging.ERROR, "crossrec.serving.client"):
        assert client.recommend({}).ids == ITEMS
    assert [line[0] for line in diary.lines] == ["start", "attempt", "attempt", "end"]
    assert "Broken failed" in caplog.text and "no disk" in caplog.text


@pytest.fixture
def telemetry():
    pytest.importorskip("opentelemetry.sdk")
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    traces = TracerProvider()
    traces.add_span_processor(SimpleSpanProcessor(exporter))
    observer = OpenTelemetryObserver(traces, MeterProvider([reader]))

    def points(name):
        data = reader.get_metrics_data()
        metrics = [
            one for resource in data.resource_metrics for scope in resource.scope_metrics for one in scope.metrics
        ]
        return next((list(one.data.data_points) for one in metrics if one.name == name), [])

    return observer, exporter, points, traces


def test_spans_and_the_trace_context(connect, servers, telemetry):
    observer, exporter, _, traces = telemetry
    server = servers[0]
    client = connect(server.target, observers=[observer], version_label="canary")
    client.metadata()
    exporter.clear()
    server.script.append(fail(CODE.UNAVAILABLE))
    client.recommend({})
    (span,) = exporter.get_finished_spans()
    assert span.name == "recommender.recommend"
    assert span.kind.name == "CLIENT"
    assert span.attributes["recommender.version_label"] == "canary"
    assert span.attributes["recommender.outcome"] == "ok"
    assert (span.attributes["recommender.attempts"], span.attributes["recommender.answered_by"]) == (2, 1)
    assert [event.attributes["rpc.grpc.status_code"] for event in span.events] == [14, 0]
    trace = f"{span.context.trace_id:032x}-{span.context.span_id:016x}"
    assert [one.headers["traceparent"].rpartition("-")[0] for one in server.predicts] == [f"00-{trace}"] * 2


def test_the_callers_span_is_the_parent(servers, telemetry):
    observer, exporter, _, traces = telemetry
    with Connector("sync") as connect:
        client = connect(servers[0].target, observers=[observer])
        with traces.get_tracer("search").start_as_current_span("search") as outer:
            client.recommend({})
    inner = exporter.get_finished_spans()[0]
    assert inner.parent.span_id == outer.get_span_context().span_id


def test_metrics(connect, servers, telemetry):
    observer, exporter, points, _ = telemetry
    server = servers[0]
    client = connect(server.target, observers=[observer])
    client.recommend({})
    client.recommend({})
    server.script.append(fail(CODE.INTERNAL))
    with pytest.raises(CallError):
        client.recommend({})
    durations = {one.attributes["recommender.outcome"]: one for one in points("recommender.client.call.duration")}
    assert {name: one.count for name, one in durations.items()} == {"ok": 2, "CallError": 1}
    assert 0 < durations["ok"].sum < 60
    attempts = {one.attributes["rpc.grpc.status_code"]: one.value for one in points("recommender.client.attempts")}
    assert attempts == {0: 3, 13: 1}
    observer.target_changed("a:1", True)
    observer.target_changed("b:1", True)
    observer.target_changed("a:1", False)
    assert {one.attributes["server.address"]: one.value for one in points("recommender.client.ejected_targets")} == {
        "a:1": 0, "b:1": 1
    }  # fmt: skip
    failed = exporter.get_finished_spans()[-1]
    assert failed.status.status_code.name == "ERROR"
    assert failed.attributes["rpc.grpc.status_code"] == 13


def test_the_package_is_named_where_it_is_missing():
    program = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from crossrec.serving.client.telemetry import OpenTelemetryObserver\n"
        "try: OpenTelemetryObserver()\n"
        "except ImportError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=240, check=True)
    assert "pip install 'crossrec[telemetry]'" in done.stdout
