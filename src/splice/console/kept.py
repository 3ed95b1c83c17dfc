"""What is worked out beside the pages and kept: a page shows the last that is known, at once."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Executor
from typing import Generic, TypeVar

log = logging.getLogger("splice.console")

T = TypeVar("T")

_MOST = 2000


class Kept(Generic[T]):
    """Values by key, each worked out again where it is older than it may be.

    Args:
        threads: Where they are worked out, one at a time each.
        fresh_s: How long one is good.
    """

    def __init__(self, threads: Executor, fresh_s: float) -> None:
        self._threads = threads
        self._fresh_s = fresh_s
        self._known: OrderedDict[Hashable, tuple[float, T | None]] = OrderedDict()
        self._underway: set[Hashable] = set()
        self._changing = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], T], *, now: bool = False) -> T | None:
        """The last that is known; None where nothing is yet, or it could not be worked out.

        With `now`, what is not known is worked out before this returns.
        """
        with self._changing:
            found = self._known.get(key)
            if found is not None:
                self._known.move_to_end(key)
            if found is not None and time.monotonic() - found[0] < self._fresh_s:
                return found[1]
            if found is None and now:
                busy = False
            elif key in self._underway:
                return None if found is None else found[1]
            else:
                busy = True
                self._underway.add(key)
        if not busy:
            return self._make(key, make)
        try:
            self._threads.submit(self._make, key, make)
        except RuntimeError:  # the process ends
            self._underway.discard(key)
        return None if found is None else found[1]

    def _make(self, key: Hashable, make: Callable[[], T]) -> T | None:
        value: T | None = None
        try:
            value = make()
        except Exception:  # a figure that fails is a gap on a page, and is told in the log
            log.exception("a figure could not be worked out: %s", key)
        with self._changing:
            self._known[key] = (time.monotonic(), value)
            self._known.move_to_end(key)
            while len(self._known) > _MOST:
                self._known.popitem(last=False)
            self._underway.discard(key)
        return value
