"""Veiling: which routes of a release leave the machine, and how they are put behind its veil."""

from __future__ import annotations

from collections.abc import Callable, Collection

import msgspec

from splice.core.errors import SpliceError
from splice.core.protection import PinnedProtection
from splice.engine.line import Step
from splice.engine.routing.hosted import Hosted
from splice.engine.routing.masked import MaskedPredictor, Veil
from splice.engine.routing.prompted import Prompted
from splice.engine.routing.relayed import Relayed
from splice.ports.masking import Masker


class Veiling:
    """Puts the steps of one release behind its veil; leaves those alone that stay on this machine.

    Where nothing can mask, no such route is asked: each is marked with the reason.

    Args:
        protection: What the release declares.
        masker: Makes a masker of rules.
        local: Providers that run on this machine.
    """

    def __init__(
        self,
        protection: PinnedProtection | None,
        masker: Callable[[tuple[str, ...]], Masker],
        local: Collection[str],
    ) -> None:
        self.veil: Veil | None = None
        self._local = local
        self._why = ""
        if protection is None or not protection.mask:
            return
        try:
            self.veil = Veil(masker(protection.mask), files=protection.files)
        except SpliceError as error:
            self._why = f"nothing that could mask: {error}"
        except Exception as error:  # noqa: BLE001 - an extension's fault must not unmask anything
            self._why = f"nothing that could mask ({type(error).__name__})"

    def over(self, step: Step) -> Step:
        """The step, behind the veil where it needs one."""
        leaves = self._leaves(step)
        if step.predictor is None or not leaves or (self.veil is None and not self._why):
            return step
        if self.veil is None:
            return msgspec.structs.replace(step, predictor=None, unavailable=self._why)
        predictor = step.predictor
        if isinstance(predictor, (Prompted, Relayed)):
            try:
                predictor.put_behind(self.veil)
            except SpliceError as error:
                return msgspec.structs.replace(step, predictor=None, unavailable=str(error))
            return step
        masked = MaskedPredictor(predictor, self.veil, step.route.label)
        return msgspec.structs.replace(step, predictor=masked)

    def direct(self, make: Callable[[str], Step]) -> Callable[[str], Step]:
        """The same for routes that are made when a caller names a model."""
        return lambda model: self.over(make(model))

    def _leaves(self, step: Step) -> bool:
        """Whether what it is asked leaves this machine."""
        if isinstance(step.predictor, (Prompted, Relayed)):
            return step.route.provider not in self._local
        return isinstance(step.predictor, Hosted) and step.route.format == "remote"
