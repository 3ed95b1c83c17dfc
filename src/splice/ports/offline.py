"""Offline: a provider answers many requests at its leisure, for less than it asks online.

A provider that can gives one by a method `offline()`, or None; others have no such method.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Literal, Protocol

import msgspec

from splice.core.errors import RouteError
from splice.core.prices import Price
from splice.ports.providers import Completion, CompletionRequest


class Standing(msgspec.Struct, frozen=True):
    """How a batch stands.

    `ended` has results to read, `refused` never will: nothing of it ran, and nothing is charged.
    `cancelled` where somebody ended it early. `total` and the counts are requests; a provider that
    counts only at the end gives 0 until then. `why` are the provider's own words.
    """

    state: Literal["running", "ended", "refused"]
    total: int = 0
    answered: int = 0
    failed: int = 0
    cancelled: bool = False
    why: str = ""


class Delivered(msgspec.Struct, frozen=True):
    """What a batch brought for one request: a completion or an error, never both.

    `cancelled` where the request was not run because somebody ended the batch.
    """

    id: str
    completion: Completion | None = None
    error: RouteError | None = None
    cancelled: bool = False


class Sought(msgspec.Struct, frozen=True):
    """A batch that may have been made, by what is known of it.

    `since` is when it was begun at the earliest, in Unix seconds; `first` the id of one of its
    requests, `size` how many it has. `others` are batches that are known to be something else.
    """

    marker: str
    since: float
    first: str
    size: int
    others: frozenset[str] = frozenset()


class Found(msgspec.Struct, frozen=True):
    """The batch that was sought; an empty id where there is none.

    `sure` is False where nobody can tell yet: one that may be it has not ended.
    """

    id: str = ""
    sure: bool = True


class Offline(Protocol):
    """The batch endpoint of one provider."""

    @property
    def most_requests(self) -> int:
        """Requests that one batch may have."""
        ...

    @property
    def most_bytes(self) -> int:
        """Bytes that the requests of one batch may have together, as `encode` gives them."""
        ...

    def price(self, model: str) -> Price | None:
        """What a model costs in a batch; None where that is unknown."""
        ...

    def encode(self, request_id: str, request: CompletionRequest) -> bytes:
        """A request as a batch holds it: one JSON object on one line.

        `request_id` is 1 to 64 letters, digits, `-` and `_`, once in a batch.

        Raises:
            RouteError: Its parameters are none that the provider could take.
        """
        ...

    async def submit(self, marker: str, requests: Sequence[bytes]) -> str:
        """Makes a batch of encoded requests; gives its id.

        `marker` is at most 64 such characters, by which `find` finds it again.

        Raises:
            RouteError: It was not made, or nobody knows: then `cost_nano` is None. Never sent
                twice by itself.
        """
        ...

    async def find(self, sought: Sought) -> Found:
        """The batch of a `submit` whose answer was lost.

        Raises:
            RouteError: The provider could not be asked.
        """
        ...

    async def status(self, batch_id: str) -> Standing:
        """How a batch stands.

        Raises:
            RouteError: The provider could not be asked, or knows no such batch.
        """
        ...

    def results(self, batch_id: str, model: str) -> AsyncIterator[Delivered]:
        """What an ended batch brought, in any order, at the price of a batch.

        A request that it did not run may be missing.

        Raises:
            RouteError: The results cannot be had now, or no more.
        """
        ...

    async def cancel(self, batch_id: str) -> None:
        """End a batch early; what was answered by then is charged, and can be read.

        Raises:
            RouteError: The provider could not be asked, or it has ended already.
        """
        ...
