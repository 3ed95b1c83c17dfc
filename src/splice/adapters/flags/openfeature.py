"""Flags by any OpenFeature provider: flagd, LaunchDarkly, Unleash, or one of your own."""

from __future__ import annotations

import asyncio
import importlib
import typing
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from typing import Any

from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import OpenFeatureError

from splice.core.errors import SettingsError

_SAYS_NOTHING = ""
_MOST_WAITING = 64
"""Evaluations that wait at once; more of them only pile up behind a provider that hangs."""


class OpenFeatureFlags:
    """A Flags over one provider.

    Evaluations run in threads: a provider may ask the network, and none may hold up the event loop.

    Args:
        provider: Its class, as `module:Class`.
        options: Arguments of the class. Names of an enumeration stand for its members.
        timeout_s: How long a call waits for a flag.

    Raises:
        SettingsError: There is no such class, or it does not take the options.
    """

    def __init__(self, provider: str, options: Mapping[str, Any], timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._domain = f"splice-{uuid.uuid4().hex}"  # providers of other libraries stay theirs
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="flags")
        self._waiting = 0
        self._trouble = "the provider is starting"
        self._provider: Any = _made(provider, options)
        self._started = self._threads.submit(self._start)

    def _start(self) -> None:
        try:
            api.set_provider_and_wait(self._provider, self._domain)
        except Exception as error:  # noqa: BLE001 - a provider is other people's code
            self._trouble = f"the provider does not start: {type(error).__name__}"
            return
        self._trouble = ""

    @property
    def trouble(self) -> str:
        """Why it says nothing at present; empty where it works."""
        return self._trouble

    async def variant(self, flag: str, who: str, facts: Mapping[str, Any]) -> str | None:
        """The variant that the flag names for `who`, or None where it says nothing usable."""
        if self._waiting >= _MOST_WAITING:
            return None
        self._waiting += 1
        loop = asyncio.get_running_loop()
        asked = loop.run_in_executor(self._threads, self._said, flag, who, facts)
        asked.add_done_callback(self._done)
        try:
            async with asyncio.timeout(self._timeout_s):
                said = await asyncio.shield(asked)
        except TimeoutError:
            self._trouble = f"no flag within {self._timeout_s * 1000:g} ms"
            return None
        return said or None

    def _done(self, asked: asyncio.Future[str]) -> None:
        self._waiting -= 1
        if not asked.cancelled():
            asked.exception()  # it was told already

    def _said(self, flag: str, who: str, facts: Mapping[str, Any]) -> str:
        try:
            self._started.result(self._timeout_s)  # the first calls of a process wait for it
            context = EvaluationContext(who, dict(facts))
            details = api.get_client(self._domain).get_string_details(flag, _SAYS_NOTHING, context)
        except (OpenFeatureError, Exception) as error:  # noqa: BLE001 - other people's code
            self._trouble = f"the provider raised {type(error).__name__}"
            return _SAYS_NOTHING
        if details.error_code is not None:
            self._trouble = f"flag {flag}: {details.error_code}"
            return _SAYS_NOTHING
        self._trouble = ""
        return details.value

    async def close(self) -> None:
        """Let go of the provider."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self._end)

    def _end(self) -> None:
        try:
            self._provider.shutdown()
        except Exception as error:  # noqa: BLE001 - it ends here, whatever it says
            self._trouble = f"the provider did not end: {type(error).__name__}"


def _made(provider: str, options: Mapping[str, Any]) -> Any:
    module, _, name = provider.partition(":")
    try:
        kind: Any = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise SettingsError(
            "flags.provider", got=f"{provider!r} ({error})", promised="module:Class",
            mend="install its package, and name its class",
        ) from None  # fmt: skip
    try:
        hints: dict[str, Any] = typing.get_type_hints(kind.__init__)
        return kind(**{key: _as(hints.get(key), value) for key, value in options.items()})
    except Exception as error:  # noqa: BLE001 - other people's code
        raise SettingsError(
            "flags.options", got=f"options that {name} does not take: {error}"
        ) from None


def _as(hint: Any, value: Any) -> Any:
    """A member of an enumeration by its value, where that is what the argument is."""
    for kind in (hint, *typing.get_args(hint)):
        if isinstance(kind, type) and issubclass(kind, Enum) and isinstance(value, str):
            return kind(value)
    return value
