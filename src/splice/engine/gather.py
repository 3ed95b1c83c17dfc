"""Gather: `context()` runs within the deadline, and every look-up it makes is noted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from inspect import isawaitable
from typing import Any, cast

import msgspec

from splice.core.call import Gathered
from splice.core.errors import GatherError, StoreError
from splice.core.untrusted import Untrusted
from splice.engine.faults import faults
from splice.engine.line import Ask, Line
from splice.ports.features import FeatureStore

_encode = msgspec.json.Encoder(enc_hook=str).encode


class Look:
    """What `context()` asks. In a replay the recorded answers are given again."""

    __slots__ = ("_asked_us", "_features", "_recorded", "gathered", "untrusted")

    def __init__(
        self,
        asked_us: int,
        features: FeatureStore | None,
        recorded: tuple[Gathered, ...] | None = None,
    ) -> None:
        self._asked_us = asked_us
        self._features = features
        self._recorded = recorded
        self.gathered: list[Gathered] = []
        self.untrusted = False  # whether texts that are looked up come from outside

    def now_us(self) -> int:
        """When the call was asked, in Unix microseconds; the same again in a replay."""
        return self._asked_us

    async def features(self, view: str, entity: str) -> dict[str, Any]:
        """The features of an entity; empty where it is unknown.

        Raises:
            StoreError: No feature store is configured, no such view, or it cannot be read.
        """
        for one in self._recorded or ():
            if one.view == view and one.entity == entity:
                self.gathered.append(one)
                return self._given(one.values)
        if self._features is None:
            raise StoreError(
                f"features.{view}",
                got="no feature store",
                promised="a view of that name",
                mend="declare it in splice.toml under [features.views]",
            )
        found = await self._features.read(view, entity)
        self.gathered.append(Gathered(view, entity, found.values, found.source, found.age_s))
        return self._given(found.values)

    def _given(self, values: dict[str, Any]) -> dict[str, Any]:
        if not self.untrusted:
            return dict(values)
        return {
            name: Untrusted(value) if isinstance(value, str) else value
            for name, value in values.items()
        }


class _Late(Exception):
    """The deadline came first."""


async def _in_time(found: Awaitable[Any], seconds: float) -> Any:
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return await found
    except TimeoutError:
        if limit.expired():
            raise _Late from None
        raise


async def gather(line: Line, ask: Ask, request: Any, look: Look) -> Mapping[str, Any]:
    """The context of a call: what `context()` (here `ask`) returns.

    Raises:
        GatherError: It raised, returned no mapping, or took longer than the deadline.
    """
    seconds = line.deadline_s
    where = f"{line.name}.context"
    try:
        found: Any = ask(request, look)
        if type(found) is not dict and isawaitable(found):  # a dict is what most give, at once
            waiting = _in_time(found, seconds)
            # A line that should not have to wait may run without a task, which a timeout needs.
            found = await (asyncio.ensure_future(waiting) if line.simple else waiting)
    except _Late:
        late = GatherError(
            where,
            got=f"nothing within {seconds:.3g} s",
            promised="a context before the deadline",
            mend="look up less, or raise the deadline",
        )
        late.late = True
        raise late from None
    except Exception as error:
        raise GatherError(where, got=faults.told(where, error)) from error
    if not isinstance(found, Mapping):
        raise GatherError(where, got=type(found).__name__, promised="a mapping of names to values")
    return cast("Mapping[str, Any]", found)


def recorded(line: Line, context: Mapping[str, Any]) -> bytes:
    """The context as JSON, for the record.

    Raises:
        GatherError: It cannot be written as JSON, and so could never be explained or replayed.
    """
    try:
        return _encode(context if isinstance(context, dict) else dict(context))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise GatherError(
            f"{line.name}.context",
            got=f"a value that is not JSON ({error})",
            promised="a mapping of names to JSON values",
        ) from None
