"""Fencing: routes that lead out of the declared regions are not asked."""

from __future__ import annotations

from collections.abc import Callable, Collection

import msgspec

from splice.core.call import Prediction
from splice.core.protection import PinnedProtection
from splice.core.residence import OutsideRegion, outside, within
from splice.engine.line import Step
from splice.engine.routing.hosted import Hosted
from splice.engine.routing.prompted import Prompted
from splice.engine.routing.relayed import Relayed
from splice.ports.predictor import Question


class Outside:
    """A Predictor in the place of a route that must not be asked."""

    immediate = True

    def __init__(self, label: str, why: str) -> None:
        self._label = label
        self.trouble = why

    @property
    def error(self) -> OutsideRegion:
        """Why it is not asked."""
        return OutsideRegion(
            self._label, got=self.trouble,
            mend="name the region of its provider in splice.toml, or take another route",
        )  # fmt: skip

    def predict(self, question: Question) -> Prediction:
        """Nothing.

        Raises:
            OutsideRegion: Always.
        """
        raise self.error

    async def close(self) -> None:
        """Nothing to let go of."""


class Fencing:
    """Keeps the routes of one release within the regions that it declares.

    Of several deployments of a provider those within are asked. A place whose settings say no
    region is outside. What runs on this machine is within.

    Args:
        protection: What the release declares.
        local: Providers that run on this machine.
    """

    def __init__(self, protection: PinnedProtection | None, local: Collection[str]) -> None:
        self._regions = () if protection is None else protection.regions
        self._local = local

    def over(self, step: Step) -> Step:
        """The step, or one that refuses in its place."""
        if not self._regions or step.predictor is None:
            return step
        why = self._why(step)
        if not why:
            return step
        return msgspec.structs.replace(
            step, predictor=Outside(step.route.label, why), immediate=True
        )

    def direct(self, make: Callable[[str], Step]) -> Callable[[str], Step]:
        """The same for routes that are made when a caller names a model."""
        return lambda model: self.over(make(model))

    def _why(self, step: Step) -> str:
        predictor = step.predictor
        if isinstance(predictor, (Prompted, Relayed)):
            if step.route.provider in self._local:
                return ""
            return predictor.keep_within(self._regions)
        if isinstance(predictor, Hosted) and step.route.format == "remote":
            region = predictor.region
            return "" if within(region, self._regions) else outside(region, self._regions)
        return ""
