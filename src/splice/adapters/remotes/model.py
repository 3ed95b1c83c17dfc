"""A model at an endpoint, whatever its protocol: rows in, one result a row out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from splice.adapters.remotes.faults import Faults
from splice.adapters.remotes.options import Options
from splice.adapters.tensors.answers import predictions
from splice.adapters.tensors.rows import NUMPY, NamedColumns, OneMatrix, way_in
from splice.core.call import Prediction, Trace
from splice.core.errors import (
    BadAnswer,
    ModelMismatch,
    ModelUnavailable,
    RouteCrashed,
    RouteError,
)
from splice.core.release import Signature
from splice.core.units import NANO

Result = Prediction | RouteError


class Wire(Protocol):
    """One protocol, to one model."""

    async def ask(
        self, feed: Mapping[str, Any], rows: int, timeout_s: float, trace: Trace | None
    ) -> list[Any]:
        """The outputs of one request, as numpy arrays that should have one entry a row.

        Raises:
            RouteError: There was no answer, or one that cannot be read.
        """
        ...

    async def inspect(self, timeout_s: float) -> Signature:
        """What the model says of itself.

        Raises:
            RouteError: It is away, not ready, or says nothing.
        """
        ...


def readable(signature: Signature, where: str) -> Signature:
    """The signature, where rows can be made into what it reads.

    Raises:
        ModelUnavailable: It names no inputs, or one of a datatype that nobody here writes.
    """
    unread = [one for one in signature.inputs if one.datatype not in NUMPY]
    if signature.inputs and not unread:
        return signature
    got = "no inputs in what the model says of itself"
    if unread:
        got = f"input {unread[0].name} of type {unread[0].datatype}"
    raise ModelUnavailable(
        where,
        got=got,
        promised=f"tensors of {', '.join(NUMPY)}",
        mend="register it with --input NAME:DATATYPE[SHAPE]",
    )


class RemoteModel:
    """A HostedModel.

    A row that does not fit is refused here and the others are asked without it. Where the endpoint
    refuses a request of several rows, crashes on it, or gives what cannot be read, each half of it
    is asked for itself, so that one bad row does not cost its neighbours their answers.

    Args:
        wire: Asks.
        faults: Names the endpoint in errors.
        options: How many requests at once, and of how many rows.
        features: Names the columns of a model that reads one matrix.
        signature: What it reads and gives; the endpoint is asked for it where it is not given.
    """

    def __init__(
        self,
        wire: Wire,
        faults: Faults,
        options: Options,
        features: Sequence[str],
        signature: Signature | None,
    ) -> None:
        self._wire = wire
        self._faults = faults
        self._options = options
        self._features = tuple(features)
        self._signature = signature
        self._way_in: NamedColumns | OneMatrix | None = None
        self._most = options.max_batch
        price = options.row_price
        self._nano = None if price is None else round(price * NANO)
        self._works = False  # it has answered, so a refusal is about rows and not about all of it
        if signature is not None and signature.inputs:
            self._learn(signature)

    @property
    def signature(self) -> Signature | None:
        """What it reads and gives; None until that is known."""
        return self._signature

    @property
    def lanes(self) -> int:
        """Requests that may be on their way at once."""
        return self._options.lanes

    async def infer(
        self, rows: Sequence[Mapping[str, Any]], timeout_s: float, trace: Trace | None = None
    ) -> list[Result]:
        """One result a row, in order.

        Raises:
            RouteError: Nothing was answered, for a reason that all the rows share.
        """
        until = time.monotonic() + timeout_s
        if self._way_in is None:
            self._learn(await self._wire.inspect(timeout_s))
        results: list[Result | None] = list(self._refused(rows))
        good = [at for at, result in enumerate(results) if result is None]
        parts = [good[at : at + self._most] for at in range(0, len(good), self._most)]
        if len(parts) == 1:
            answered = [await self._asked([rows[at] for at in parts[0]], until, trace)]
        else:
            answered = await self._parts(rows, parts, until, trace)
        for part, answers in zip(parts, answered, strict=True):
            for at, answer in zip(part, answers, strict=True):
                results[at] = answer
        settled = [one for one in results if one is not None]
        first = settled[0] if settled else None
        if isinstance(first, RouteError) and all(one is first for one in settled):
            raise first
        return settled

    async def close(self) -> None:
        """Nothing of its own is open: the runtime has the connections."""

    def _learn(self, signature: Signature) -> None:
        where = self._faults.where
        readable(signature, where)
        self._way_in = way_in(signature, self._features or signature.features, where)
        self._signature = signature
        if any(len(one.shape) > 1 and one.shape[0] == 1 for one in signature.inputs):
            self._most = 1  # exported for one row

    def _refused(self, rows: Sequence[Mapping[str, Any]]) -> Sequence[RouteError | None]:
        """What is wrong with each row; None where nothing is."""
        try:
            self._feed(rows)
        except ModelMismatch as error:
            if len(rows) == 1:
                return [error]
        else:
            return [None] * len(rows)
        found: list[RouteError | None] = []
        for row in rows:
            try:
                self._feed([row])
            except ModelMismatch as error:
                found.append(error)
            else:
                found.append(None)
        return found

    def _feed(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        if self._way_in is None:
            raise ModelUnavailable(self._faults.where, got="a model whose inputs are not known")
        return self._way_in.feed(rows)

    async def _parts(
        self,
        rows: Sequence[Mapping[str, Any]],
        parts: Sequence[Sequence[int]],
        until: float,
        trace: Trace | None,
    ) -> list[list[Result]]:
        """The results of several requests, as many at once as there are lanes."""
        lane = asyncio.Semaphore(self._options.lanes)

        async def ask(part: Sequence[int]) -> list[Result]:
            async with lane:
                return await self._asked([rows[at] for at in part], until, trace)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ask(part)) for part in parts]
        return [task.result() for task in tasks]

    async def _asked(
        self, rows: Sequence[Mapping[str, Any]], until: float, trace: Trace | None
    ) -> list[Result]:
        count, left = len(rows), until - time.monotonic()
        try:
            feed = self._feed(rows)
        except ModelMismatch as error:  # lists of several lengths: each fits, but not together
            return [error] if count == 1 else await self._halves(rows, until, trace)
        try:
            raw = await self._wire.ask(feed, count, left, trace)
        except (ModelMismatch, RouteCrashed, BadAnswer) as error:
            if count == 1 or not self._works:
                return [error] * count
            results = await self._halves(rows, until, trace)
            self._works = any(isinstance(one, Prediction) for one in results)
            return results
        except RouteError as error:
            return [error] * count
        self._works = True
        results = self._read(raw, count)
        for one in results:
            one.cost_nano = self._nano
        return results

    async def _halves(
        self, rows: Sequence[Mapping[str, Any]], until: float, trace: Trace | None
    ) -> list[Result]:
        half = len(rows) // 2
        first = await self._asked(rows[:half], until, trace)
        return first + await self._asked(rows[half:], until, trace)

    def _read(self, raw: Sequence[Any], count: int) -> list[Result]:
        classes = self._signature.classes if self._signature is not None else ()
        where = self._faults.where
        if not raw:
            return [BadAnswer(where, got="no outputs", promised="at least one")] * count
        try:
            return list(predictions(raw, count, classes, where))
        except BadAnswer as error:
            if count == 1 or any(not one.ndim or len(one) != count for one in raw):
                return [error] * count
        results: list[Result] = []
        for at in range(count):
            try:
                results += predictions([one[at : at + 1] for one in raw], 1, classes, where)
            except BadAnswer as error:
                results.append(error)
        return results
