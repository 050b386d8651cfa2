"""OpenTelemetry for the client; the package is imported only where an `OpenTelemetryObserver` is made."""

from collections.abc import Iterable
from typing import Any, Optional

import grpc

from crossrec.serving.client.observers import AttemptEnd, Call, CallEnd, Observer

_SCOPE = "crossrec.serving.client"


class OpenTelemetryObserver(Observer):
    """A span per call, with an event per attempt, and metrics; the trace context goes along to the server.

    Metrics: ``recommender.client.call.duration`` (histogram, seconds), ``recommender.client.attempts`` (counter) and
    ``recommender.client.ejected_targets`` (up-down counter).

    Args:
        tracer_provider: Where spans go; None for the process's own.
        meter_provider: Where metrics go; None for the process's own.

    Raises:
        ImportError: opentelemetry-api is not installed.
    """

    def __init__(self, tracer_provider: Optional[Any] = None, meter_provider: Optional[Any] = None) -> None:
        try:
            from opentelemetry import metrics, propagate, trace
        except ImportError as error:
            raise ImportError(
                "OpenTelemetryObserver needs opentelemetry-api: pip install 'crossrec[telemetry]'"
            ) from error
        self._trace = trace
        self._inject = propagate.inject
        self._tracer = trace.get_tracer(_SCOPE, tracer_provider=tracer_provider)
        meter = metrics.get_meter(_SCOPE, meter_provider=meter_provider)
        self._duration = meter.create_histogram(
            "recommender.client.call.duration", unit="s", description="Time of a call, all attempts included"
        )
        self._attempts = meter.create_counter(
            "recommender.client.attempts", unit="{attempt}", description="RPCs sent, hedges and probes included"
        )
        self._ejected = meter.create_up_down_counter(
            "recommender.client.ejected_targets", unit="{target}", description="Targets that get no calls"
        )
        self._spans: dict[Call, Any] = {}

    def call_started(self, call: Call) -> None:
        """Start the call's span."""
        attributes: dict[str, Any] = {
            "rpc.system": "grpc",
            "recommender.operation": call.operation,
            "recommender.model": call.model_name,
            "recommender.batch": call.batch,
        }
        if call.choice.version is not None:
            attributes["recommender.version"] = call.choice.version
        if call.choice.version_label is not None:
            attributes["recommender.version_label"] = call.choice.version_label
        self._spans[call] = self._tracer.start_span(
            f"recommender.{call.operation}", kind=self._trace.SpanKind.CLIENT, attributes=attributes
        )

    def headers(self, call: Call) -> Iterable[tuple[str, str]]:
        """Give the trace context."""
        carrier: dict[str, str] = {}
        span = self._spans.get(call)
        if span is not None:
            self._inject(carrier, context=self._trace.set_span_in_context(span))
        return carrier.items()

    def attempt_ended(self, call: Call, attempt: AttemptEnd) -> None:
        """Count the attempt, and note it in the call's span while that lasts."""
        about: dict[str, Any] = {
            "server.address": attempt.target,
            "rpc.grpc.status_code": attempt.code.value[0],
            "recommender.hedge": attempt.hedge,
            "recommender.probe": attempt.probe,
        }
        self._attempts.add(1, about)
        span = self._spans.get(call)
        if span is not None:
            span.add_event("attempt", {**about, "rpc.method": attempt.method, "seconds": attempt.seconds})

    def call_ended(self, call: Call, end: CallEnd) -> None:
        """End the call's span and record its time."""
        span = self._spans.pop(call)
        code = getattr(end.error, "code", grpc.StatusCode.OK)
        outcome = "fallback" if end.fallback else "ok" if end.error is None else type(end.error).__name__
        about: dict[str, Any] = {
            "recommender.operation": call.operation,
            "recommender.model": call.model_name,
            "recommender.outcome": outcome,
        }
        if call.choice.version_label is not None:
            about["recommender.version_label"] = call.choice.version_label
        self._duration.record(end.seconds, about)
        span.set_attributes(
            {**about, "recommender.attempts": end.attempts, "recommender.answered_by": end.model_version}
        )
        if end.error is not None:
            if isinstance(code, grpc.StatusCode):
                span.set_attribute("rpc.grpc.status_code", code.value[0])
            span.record_exception(end.error)
            span.set_status(self._trace.Status(self._trace.StatusCode.ERROR, str(end.error)))
        span.end()

    def target_changed(self, target: str, ejected: bool) -> None:
        """Count the targets that are out."""
        self._ejected.add(1 if ejected else -1, {"server.address": target})
