"""Asking detectors that take their time: in threads of their own, and never for ever.

A thread cannot be ended. One that hangs is left behind and keeps its place, so that a detector that
hangs for good soon has none: all that ask it are told in time that it is away, and nobody else
waits.
"""

from __future__ import annotations

import asyncio
import inspect
import re
import threading
from collections.abc import Callable, Collection, Mapping
from typing import Any
from weakref import WeakKeyDictionary

from splice.ports.policies import Detector, Found

_AT_ONCE = 8
_WORD = re.compile(r"[\w ,.:/-]{1,40}")


class Patience:
    """Asks one detector.

    Args:
        detector: What is asked, in a thread; or a coroutine function of the user's own.
        seconds: How long an answer may take.
    """

    __slots__ = ("_detector", "_places", "_seconds")

    def __init__(self, detector: Detector, seconds: float) -> None:
        self._detector = detector
        self._seconds = seconds
        self._places: WeakKeyDictionary[Any, asyncio.Semaphore] = WeakKeyDictionary()

    async def find(self, text: str) -> Found | None:
        """What the detector says.

        Raises:
            TimeoutError: It did not say anything in time.
            Exception: What it raised.
        """
        async with asyncio.timeout(self._seconds):
            if isinstance(self._detector, Asked) and self._detector.waits:
                return await self._detector.coming(text)
            return await self._in_thread(text)

    async def _in_thread(self, text: str) -> Found | None:
        loop = asyncio.get_running_loop()
        places = self._places.setdefault(loop, asyncio.Semaphore(_AT_ONCE))
        await places.acquire()
        done: asyncio.Future[Found | None] = loop.create_future()

        def settle(found: Found | None, error: Exception | None) -> None:
            places.release()
            if done.done():
                return
            if error is not None:
                done.set_exception(error)
            else:
                done.set_result(found)

        def work() -> None:
            found, failure = None, None
            try:
                found = self._detector.find(text)
            except Exception as error:  # noqa: BLE001 - it is handed to who asked
                failure = error
            try:
                loop.call_soon_threadsafe(settle, found, failure)
            except RuntimeError:  # the loop is closed: nobody waits any more
                return

        threading.Thread(target=work, name="policy", daemon=True).start()
        return await done


class Asked:
    """A Detector that asks a function of the user's own.

    Args:
        function: Of a text: "" or None or False where it is fine, else what is wrong in a word or
            two; True says that something is. It may be a coroutine function.
    """

    immediate = False

    def __init__(self, function: Callable[[str], Any]) -> None:
        self._function = function
        self.waits = inspect.iscoroutinefunction(function)

    def find(self, text: str) -> Found | None:
        """What the function says."""
        return self._read(self._function(text))

    async def coming(self, text: str) -> Found | None:
        """What the coroutine function says."""
        return self._read(await self._function(text))

    def _read(self, said: Any) -> Found | None:
        if said is None or said is False or said == "":
            return None
        # What it says goes into records: words of the text must not.
        short = said if isinstance(said, str) and _WORD.fullmatch(said) else "found"
        return Found(short)

    def redact(self, text: str) -> str:
        """Not to be asked: a function only tells.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError


class Classified(Asked):
    """The same for a function that names the topic of a text.

    Args:
        function: Names a topic, or gives "".
        rule: Which topics may pass, or may not.
    """

    def __init__(self, function: Callable[[str], Any], rule: Mapping[str, Any]) -> None:
        super().__init__(function)
        self._allow: Collection[str] = rule.get("allow", ())
        self._deny: Collection[str] = rule.get("deny", ())

    def _read(self, said: Any) -> Found | None:
        topic = said if isinstance(said, str) else ""
        if self._allow:
            known = topic if _WORD.fullmatch(topic) else "other"
            return None if topic in self._allow else Found(known)
        return Found(topic) if topic in self._deny else None
