"""The search: crosses of growing order, chosen one by one, each given all that were chosen before.

Beam search over orders follows Luo et al., 2019, "AutoCross: Automatic Feature Crossing for Tabular Data in Real-World
Applications". Different from it: weights are fitted exactly, with a prior of fitted strength; gains are measured on
later rows than weights are fitted on, with standard errors by user; orders that have few enough crosses are looked at
as a whole, so that a cross none of whose parts shows anything is found; the best candidates are measured again after
each choice, and chosen crosses that later ones make superfluous are taken out again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from crossrec.components.cross_selector.auto import AutoCrosses
from crossrec.components.cross_selector.candidates import Candidates, Names
from crossrec.components.cross_selector.confirm import main_effects, settle, supersets, unique_gain
from crossrec.components.cross_selector.data import Sample
from crossrec.components.cross_selector.evaluate import Given, Worth, users_in_selection, worth
from crossrec.components.cross_selector.found import Found
from crossrec.components.cross_selector.hierarchy import own_evidence
from crossrec.components.cross_selector.score import Model
from crossrec.components.cross_selector.significance import least_score
from crossrec.components.progress import progress

SELECTION = 1
_AGAIN = 12
_SMALLEST_RUNG = 50_000
_GROWTH = 4
_LEAST_KEPT = 32
_FALSE_CHOICES = 0.5
"""False choices that may be expected of a search; the confirmation block is there to tell them."""
_DROPPED_BELOW = 0.05
_LEAST_EVIDENCE = 1.0
"""Nats for an effect of a part beside that of the whole, as for the weights of any field."""

Screen = Callable[[Sequence[Names], Sequence[Given], int], list[Worth]]
"""Scores many candidates on each n-th row; the place where work is spread over machines."""


class Search:
    """A search over one sample.

    Args:
        sample: The rows.
        auto: What is searched.
        families: The candidate features, and what each is a version of.
        explicit: Crosses that are there anyway.
        screen: Scores many candidates; in this process if left out.
    """

    def __init__(
        self,
        sample: Sample,
        auto: AutoCrosses,
        families: Mapping[str, str],
        explicit: Sequence[Names] = (),
        screen: Screen | None = None,
    ):
        self._sample, self._auto, self._explicit = sample, auto, list(explicit)
        self._candidates = Candidates(sample, families, auto.max_pairs)
        self._screen = screen or self._screen_here
        self._end = time.monotonic() + 60.0 * auto.budget.minutes
        self.found = Found()

    def end_at(self, moment: float) -> None:
        """Sets when the search ends at the latest, by the monotonic clock."""
        self._end = moment

    def run(self) -> Found:
        """Searches all orders; ends by itself, or by the budget."""
        found = self.found
        self._models = self._start()
        scored: dict[Names, Worth] = {}
        for order in range(2, self._auto.max_order + 1):
            everything = self._candidates.of_order(order, self._auto.exhaustive)
            if everything is None:
                everything = self._candidates.extending(self._parents(scored, order - 1))
            names = [one for one in everything if not self._is_taken(one)]
            progress(f"{len(names):,} crosses of {order} features")
            found.looked_at += len(names)
            scored = self._rungs(names)
            if order == 2:
                found.pairs = dict(scored)
            self._choose(scored)
            if self._late():
                found.stopped = f"budget.minutes: {self._auto.budget.minutes:g} are over"
            if found.stopped:
                break
        self._drop_superfluous()
        found.stopped = found.stopped or "no cross is left that gains enough"
        return found

    def _start(self) -> list[Model]:
        """Main effects and explicit crosses."""
        models = main_effects(self._sample, SELECTION, self._auto.min_count)
        for names in self._explicit:
            for model in models:
                model.add(self._candidates.field(names))
                settle(model, names, self._candidates.field(names).key, 3)
        return models

    def _given(self) -> list[Given]:
        return [Given(m.task, m.residual, m.curvature, m.logits[m.task.block(SELECTION)]) for m in self._models]

    def _screen_here(self, names: Sequence[Names], given: Sequence[Given], every: int) -> list[Worth]:
        users = users_in_selection(self._sample, every)
        out = []
        for one in names:
            if self._late():
                break
            out.append(worth(self._candidates.field(one), given, users, self._auto.min_count, every))
        return out

    def _rungs(self, names: Sequence[Names]) -> dict[Names, Worth]:
        """Scores all on few rows, the better ones on more, the best on all (Jamieson, Talwalkar 2016)."""
        scored: dict[Names, Worth] = {}
        left = list(names)
        given = self._given()
        for every in self._strides():
            scored |= dict(zip(left, self._screen(left, given, every)))
            left = sorted((one for one in left if one in scored), key=lambda one: self._rank(scored[one]), reverse=True)
            left = left[: max(_LEAST_KEPT, len(left) // _GROWTH)]
        return scored

    def _strides(self) -> list[int]:
        """Which rows the rungs look at: each n-th, the last rung all."""
        strides = [1]
        while self._sample.rows[0] // (strides[0] * _GROWTH) >= _SMALLEST_RUNG:
            strides.insert(0, strides[0] * _GROWTH)
        return strides

    def _rank(self, one: Worth) -> float:
        """The gain, less for wide crosses."""
        return one.gain.mean / (1.0 + self._auto.width_penalty * float(np.log2(1 + one.used)))

    def _good(self, one: Worth) -> bool:
        level = least_score(self.found.looked_at, _FALSE_CHOICES)
        return one.gain.mean >= self._auto.min_gain and one.gain.score >= level

    def _choose(self, scored: Mapping[Names, Worth]) -> None:
        """Chooses among the scored crosses until none gains enough."""
        left = dict(scored)
        fresh: set[Names] = set()
        failed: set[Names] = set()
        while len(failed) < len(left):
            if len(self.found.chosen) >= self._auto.max_crosses:
                self.found.stopped = f"max_crosses: {self._auto.max_crosses} are chosen"
                return
            if self._late():
                return
            open_ones = (one for one in left if one not in failed)
            best = sorted(open_ones, key=lambda one: self._rank(left[one]), reverse=True)[:_AGAIN]
            if best[0] not in fresh:
                users, given = users_in_selection(self._sample, 1), self._given()
                for one in best:
                    if one not in fresh:
                        left[one] = worth(self._candidates.field(one), given, users, self._auto.min_count)
                        fresh.add(one)
                continue
            if left[best[0]].gain.mean < self._auto.min_gain:
                return
            if not self._any_version_is_good(best[0], {one: left[one] for one in fresh}):
                failed.add(best[0])
                continue
            self._take(best[0], left[best[0]])
            # What was uncertain before may be clear beside the cross just taken.
            fresh, failed = set(), set()
            left = {one: value for one, value in left.items() if not self._is_taken(one)}

    def _any_version_is_good(self, names: Names, scored: Mapping[Names, Worth]) -> bool:
        """Whether a cross, or the same one with other versions of its features, gains surely enough."""
        family = self._candidates.family(names)
        return any(self._good(value) for one, value in scored.items() if self._candidates.family(one) == family)

    def _take(self, names: Names, value: Worth) -> None:
        new = self._candidates.field(names)
        for model in self._models:
            model.add(new)
            settle(model, names, new.key, 3)
        self.found.chosen.append(names)
        self.found.steps.append(f"+ {new.key}: {value.gain.mean:.6f} ± {value.gain.error:.6f} nats")
        progress(f"chose {new.key}: {value.gain.mean:.5f} ± {value.gain.error:.5f} nats a row")

    def _parents(self, scored: Mapping[Names, Worth], order: int) -> list[Names]:
        """The crosses to extend: the chosen ones of this order, and those that gain most beside them."""
        chosen = [names for names in self.found.chosen if len(names) == order]
        best = sorted(scored, key=lambda one: self._rank(scored[one]), reverse=True)[: 4 * self._auto.beam]
        again = dict(zip(best, self._screen_here(best, self._given(), 1)))
        others = sorted(again, key=lambda one: self._rank(again[one]), reverse=True)
        return [*chosen, *(one for one in others if one not in chosen)][: self._auto.beam]

    def _is_taken(self, names: Names) -> bool:
        taken = [self._candidates.family(one) for one in (*self._explicit, *self.found.chosen)]
        return self._candidates.family(names) in taken

    def _late(self) -> bool:
        return time.monotonic() > self._end

    def _speaks(self, names: Names) -> bool:
        """Whether a cross has an effect of its own beside each of those that contain it."""
        key = self._candidates.field(names).key
        for whole in supersets(names, self.found.chosen):
            other = self._candidates.field(whole).key
            if sum(own_evidence(model, key, other) for model in self._models) < _LEAST_EVIDENCE:
                return False
        return True

    def _drop_superfluous(self) -> None:
        """Takes out what the others explain: the least one first, while it gains too little over the others."""
        chosen, level = self.found.chosen, least_score(1, _DROPPED_BELOW)
        while chosen:
            for model in self._models:
                for one in chosen:
                    settle(model, one, "", 2)
            gains = {
                one: unique_gain(
                    self._models, one, self._candidates.field, SELECTION, self._sample, supersets(one, chosen)
                )
                for one in chosen
            }
            bad = [one for one, gain in gains.items() if gain.mean < self._auto.min_gain or gain.score < level]
            bad += [one for one in chosen if not self._speaks(one)]
            self.found.over_others = gains
            if not bad:
                return
            names = min(bad, key=lambda one: gains[one].mean)
            gain = gains[names]
            key = self._candidates.field(names).key
            for model in self._models:
                model.remove(key)
                settle(model, names, "", 2)
            chosen.remove(names)
            self.found.steps.append(f"- {key}: {gain.mean:.6f} ± {gain.error:.6f} nats over the others")
