"""Offline: the first route of a line, asked by its provider's batch endpoint.

A row passes the stations of any call, some of them now and the rest later: it is admitted, gathered
and reserved for as its request is made; what the batch brings is the answer of the first route, and
from there on the call runs as `Engine.run` has it: further routes, `decide()`, record.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from splice.core.access import ANYONE
from splice.core.call import Call, Gathered, Prediction, Record
from splice.core.errors import GatherError, ModelUnavailable, RouteError, SettingsError
from splice.core.policy_errors import PolicyRefused, PolicyUnavailable
from splice.engine.admit import entity_of
from splice.engine.engine import Answered, Engine
from splice.engine.gather import Look, gather, recorded
from splice.engine.guard_typed import let_in
from splice.engine.line import Arm, Ask, Line, Picked, Step
from splice.engine.record import not_recorded
from splice.engine.routing.prompted import Prompted
from splice.engine.routing.relayed import Relayed
from splice.engine.run import Run
from splice.engine.spend import NO_RESERVATION, Reservation
from splice.engine.tokens import BYTES_A_TOKEN, estimate_nano
from splice.ports.features import FeatureStore
from splice.ports.offline import Delivered, Offline
from splice.ports.predictor import Question


class Prepared(msgspec.Struct, omit_defaults=True):
    """One call on its way to a batch, as it is kept until the batch brings its answer.

    `sent` is its request as the provider gets it; UNSET where none could be made, for the reason in
    `why`. `context` is what `context()` returned; UNSET where that is the request itself.
    """

    call_id: str
    asked_us: int
    body: Raw
    sent: Raw | UnsetType = UNSET
    context: Raw | UnsetType = UNSET
    gathered: tuple[Gathered, ...] = ()
    reserved_nano: int = 0
    why: str = ""


class Arrived:
    """A Predictor whose answer came beforehand."""

    immediate = True

    def __init__(self, came: Prediction | RouteError) -> None:
        self._came = came

    def predict(self, question: Question) -> Prediction:
        """What came.

        Raises:
            RouteError: It was an error.
        """
        if isinstance(self._came, RouteError):
            raise self._came
        return self._came

    async def close(self) -> None:
        """Nothing to let go of."""


class OfflineRoute:
    """The first route of a line, and what becomes of its answers.

    Args:
        engine: Runs the rest of each call.
        line: The release that is asked.
        features: What `context()` looks up.
        fallback: Whether a call that failed in the batch goes on to the other routes, online.
        place: Name of the deployment that has the batches already; any that can if left out.

    Raises:
        SettingsError: Its first route has no batch endpoint.
    """

    def __init__(
        self,
        engine: Engine,
        line: Line,
        features: FeatureStore | None,
        *,
        fallback: bool = True,
        place: str = "",
    ) -> None:
        self._engine = engine
        self.line = line
        self._features = features
        self.fallback = fallback
        self._step = line.steps[0]
        self.model = self._step.route.model
        self._prompted, self.place, self.offline = _endpoint(line.name, self._step, place)

    async def prepare(self, call: Call) -> Prepared:
        """The call with its request, not reserved for yet.

        Raises:
            RequestError: It is not a call of this integration.
            RefusedError: It may not run now.
        """
        self._engine.admit(self.line, call)
        line = self.line
        request = line.request.decode(call.body, line.where)
        prepared = Prepared(call.id, call.asked_us, Raw(call.body))
        if self._held(entity_of(line, request)) is not None:  # it is not for any model
            prepared.why = "its entity is held out"
            return prepared
        look = Look(call.asked_us, self._features)
        look.untrusted = line.guard is not None and bool(line.guard.at("context"))
        context: Mapping[str, Any]
        try:
            if line.context is None:
                context = line.request.fields(request)
            else:
                context = await gather(line, line.context, request, look)
                prepared.context = Raw(recorded(line, context))
            context = await self._let_in(prepared, call, look, context)
            if prepared.context is not UNSET and self._prompted.masks:
                # As it is read again when the answer has come.
                context = msgspec.json.decode(prepared.context)
            wanted = self._prompted.request(context, self._step.route.timeout_s)
            prepared.sent = Raw(self.offline.encode(call.id, self._prompted.outward(wanted)))
        except (GatherError, RouteError, PolicyRefused, PolicyUnavailable) as error:
            prepared.why = str(error)  # it is said again, and recorded, when the batch is back
        prepared.gathered = tuple(look.gathered)
        return prepared

    async def _let_in(
        self, prepared: Prepared, call: Call, look: Look, context: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """The context as policies let it go to the provider."""
        run = Run(self.line, call, None, time.monotonic())
        if run.asking is None:
            return context
        run.gathered = look.gathered
        clean = await let_in(run, run.asking, context)
        if run.context is not None:
            prepared.context = Raw(run.context)
        return clean

    async def reserve(self, prepared: Prepared) -> Reservation:
        """Room for a call at the price of a batch, or of the dearest route behind it.

        Raises:
            OverBudget: There is none.
            MeterAway: Nobody can tell, and this process answers nothing unchecked.
        """
        purse = self._engine.purse
        if purse is None:
            return NO_RESERVATION
        dearest: int | None = 0
        most = 0
        if prepared.sent is not UNSET:
            read, written = len(prepared.sent) // BYTES_A_TOKEN, self._prompted.most_written
            dearest = estimate_nano(self.offline.price(self.model), read, written)
            most = read + written
        for step in self.line.steps[1:] if self.fallback else ():
            if isinstance(step.predictor, (Prompted, Relayed)):
                cost, tokens = step.predictor.most(len(prepared.body) // BYTES_A_TOKEN)
                dearest = None if cost is None or dearest is None else max(dearest, cost)
                most = max(most, tokens)
        budgets = self.line.declaration.options.budgets
        reserved = await purse.reserve(ANYONE, self.line.name, budgets, dearest, most)
        prepared.reserved_nano = reserved.amount_nano
        return reserved

    async def reserve_all(self, calls: Sequence[Prepared]) -> Reservation:
        """Room for calls that had some before, together.

        Raises:
            OverBudget: There is none.
            MeterAway: Nobody can tell, and this process answers nothing unchecked.
        """
        purse, budgets = self._engine.purse, self.line.declaration.options.budgets
        if purse is None:
            return NO_RESERVATION
        amount = sum(one.reserved_nano for one in calls)
        return await purse.reserve(ANYONE, self.line.name, budgets, amount, 0)

    async def settle(self, reserved: Reservation, cost_nano: int) -> None:
        """The truth in the place of what was reserved."""
        if self._engine.purse is not None:
            await self._engine.purse.settle(reserved, cost_nano, None)

    async def finish(self, prepared: Prepared, came: Delivered, note: str = "") -> Answered:
        """The call, decided and on its way to the ledger.

        Raises:
            RequestError: It is not a call of this integration.
            RefusedError: It may not run now.
        """
        line, engine = self.line, self._engine
        call = Call(prepared.call_id, line.name, bytes(prepared.body), prepared.asked_us, "batch")
        engine.admit(line, call)
        request = line.request.decode(call.body, line.where)
        entity = entity_of(line, request)
        held = self._held(entity)
        outcome = self._outcome(prepared, came, request)
        further = self.fallback and isinstance(outcome, RouteError) and not came.cancelled
        arrived = msgspec.structs.replace(
            self._step, predictor=Arrived(outcome), immediate=True, unavailable="", withdrawn=""
        )
        steps = (arrived, *(line.steps[1:] if further else ()))
        look = Look(prepared.asked_us, self._features, prepared.gathered)
        context = line.context
        if prepared.context is not UNSET and not further:
            # The answer is to this context. Other routes get it anew, in the types of its own, with
            # the look-ups that were made.
            look.gathered, context = list(prepared.gathered), _kept(bytes(prepared.context))
        here = msgspec.structs.replace(line, steps=steps, context=context)
        picked = None if held is None else Picked(held)
        engine.in_flight += 1
        try:
            answered = await engine.run(here, call, request, look, entity, picked)
            record = _waited(answered.record, note)
            error = await engine.finish(line, call, record)
        finally:
            engine.in_flight -= 1
        if error is not None:
            return Answered(not_recorded(record, error), error)
        return Answered(record, answered.error)

    def _held(self, entity: str | None) -> Arm | None:
        split = self.line.split
        return None if split is None or entity is None else split.held(entity)

    def _outcome(
        self, prepared: Prepared, came: Delivered, request: Any
    ) -> Prediction | RouteError:
        if prepared.sent is UNSET:
            label = self._step.route.label
            return ModelUnavailable(label, got=f"a call that could not be sent: {prepared.why}")
        if came.completion is None:
            label = self._step.route.label
            return came.error or ModelUnavailable(label, got="neither an answer nor an error")
        completion = came.completion
        try:
            if self._prompted.masks:  # its values are nowhere but in the call: the same ones again
                context: Mapping[str, Any] = (
                    self.line.request.fields(request)
                    if prepared.context is UNSET
                    else msgspec.json.decode(prepared.context)
                )
                wanted = self._prompted.request(context, self._step.route.timeout_s)
                completion = self._prompted.inward(completion, wanted)
            return self._prompted.predicted(completion, completion.cost_nano)
        except RouteError as error:
            return error


def _endpoint(integration: str, step: Step, place: str) -> tuple[Prompted, str, Offline]:
    """The first deployment of a route that has a batch endpoint, or the one of that name."""
    predictor = step.predictor
    if isinstance(predictor, Prompted):
        for one in predictor.places:
            offline = getattr(one.provider, "offline", None)
            endpoint: Offline | None = None if offline is None else offline()
            if endpoint is not None and place in ("", one.name):
                return predictor, one.name, endpoint
    got = f"{step.route.label}, whose provider has no batch endpoint"
    if place:
        got = f"no provider {place}, which has the batches of this run"
    elif step.unavailable or step.withdrawn:
        got = step.unavailable or step.withdrawn
    elif not isinstance(predictor, Prompted):
        got = f"{step.route.label}, which is no language model with a prompt"
    raise SettingsError(
        integration,
        got=got,
        promised="a first route to a language model of OpenAI, Groq or Anthropic",
        mend="leave out --offline, or put such a route first",
    )


def _kept(context: bytes) -> Ask:
    plain: dict[str, Any] = msgspec.json.decode(context)

    def ask(request: Any, look: Any) -> Mapping[str, Any]:
        return plain

    return ask


def _waited(record: Record, note: str) -> Record:
    """The record with the time that its batch took: the first attempt's, and the call's."""
    now_us = time.time_ns() // 1000
    waited = max(0, now_us - record.asked_us - record.duration_us)
    attempts = [
        msgspec.structs.replace(one, started_us=one.started_us + waited)
        if number
        else msgspec.structs.replace(one, latency_us=one.latency_us + waited)
        for number, one in enumerate(record.attempts)
    ]
    return msgspec.structs.replace(
        record,
        duration_us=record.duration_us + waited,
        attempts=tuple(attempts),
        notes=(*record.notes, note) if note else record.notes,
    )
