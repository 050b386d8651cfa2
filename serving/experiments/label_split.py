"""An experiment as the client's split of its traffic."""

from __future__ import annotations

import time
from typing import NamedTuple

from crossrec.serving.client.traffic import RequestEnd, Route, RoutedRequest
from crossrec.serving.experiments.experiment import Experiment
from crossrec.serving.experiments.exposure import Exposure
from crossrec.serving.experiments.exposure_log import ExposureLog
from crossrec.serving.experiments.source import WatchedExperiment


class _Ticket(NamedTuple):
    experiment: Experiment
    arm: str
    unit: str
    request_id: str


class LabelSplit:
    """Sends each request to the label of its unit's arm, and records the exposure when it has ended.

    The unit is `Request.unit`, else the feature that the experiment names. A request without one goes to the control
    and is not recorded, nor are testers with an override, nor anybody while a single arm has all the traffic.
    A request that failed or that the fallback answered is recorded too, with the arm that it was assigned to: leaving
    it out would compare only those whom the arm could serve.

    Args:
        experiment: The experiment, or a file that defines it.
        exposures: Takes the records; None keeps none, for a canary that is judged by other figures.

    Example:
        with ExposureLog("exposures") as exposures:
            split = LabelSplit(WatchedExperiment("experiment.json"), exposures)
            with RecommenderClient("127.0.0.1:8500", config=ClientConfig(traffic=split)) as client:
                client.recommend({"user_id": "u17", "query": "red shoes"})
    """

    def __init__(self, experiment: Experiment | WatchedExperiment, exposures: ExposureLog | None = None) -> None:
        self._experiment = experiment
        self._exposures = exposures

    @property
    def experiment(self) -> Experiment:
        """The experiment as it is now."""
        return self._experiment if isinstance(self._experiment, Experiment) else self._experiment.current()

    def route(self, request: RoutedRequest) -> Route:
        """See `TrafficSplit.route`."""
        experiment = self.experiment
        unit = _text(request.inputs.get(experiment.unit) if request.unit is None else request.unit)
        assigned = experiment.assign(unit)
        if not assigned.exposed or self._exposures is None:
            return Route(assigned.version_label, None)
        assert unit is not None
        request_id = "" if request.request_id is None else str(request.request_id)
        return Route(assigned.version_label, _Ticket(experiment, assigned.arm, unit, request_id))

    def ended(self, ticket: _Ticket, end: RequestEnd) -> None:
        """See `TrafficSplit.ended`."""
        assert self._exposures is not None
        experiment, arm, unit, request_id = ticket
        self._exposures.record(
            Exposure(
                experiment.name,
                arm,
                unit,
                time.time(),
                experiment.allocation,
                end.model_version,
                end.fallback,
                end.error,
                request_id,
            )
        )


def _text(unit: object) -> str | None:
    """The unit as text; None for what the model's inputs do not take as an id either."""
    if isinstance(unit, bytes):
        return unit.decode("utf-8", "replace")
    return unit if isinstance(unit, str) else None
