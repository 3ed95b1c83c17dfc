"""What every batch endpoint keeps to: a test class inherits this and says which provider it is."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from typing import Any

import pytest

from splice.core.errors import BadAnswer, ProviderLimited, RouteError
from splice.core.prices import in_batch
from splice.ports.offline import Delivered, Offline, Sought
from splice.ports.providers import CompletionRequest, Message
from splice.testing.batch_server import BatchServer, Fate

SCHEMA = {
    "type": "object",
    "properties": {"queue": {"enum": ["billing", "technical"]}},
    "required": ["queue"],
}


def request(text: str, **params: Any) -> CompletionRequest:
    """A prompt with a schema."""
    messages = (Message("system", "Sort it."), Message("user", text))
    return CompletionRequest("small", messages, 5.0, SCHEMA, params={"max_tokens": 20, **params})


def lines(offline: Offline, *texts: str) -> list[bytes]:
    """Requests whose ids are their texts."""
    return [offline.encode(text, request(text)) for text in texts]


async def collected(offline: Offline, batch: str) -> dict[str, Delivered]:
    """Everything that a batch brought, by id; each id once."""
    found: dict[str, Delivered] = {}
    async for one in offline.results(batch, "small"):
        assert one.id not in found
        found[one.id] = one
    return found


class OfflineContract:
    """Inherit it, and make the provider with a price and a share of 0.5 for the model `small`.

    The tests are coroutines: run them with pytest-asyncio in its automatic mode.
    """

    def make(self, server: BatchServer) -> Any:
        """The provider, at that server."""
        raise NotImplementedError

    @pytest.fixture
    def server(self) -> Iterator[BatchServer]:
        with BatchServer() as server:
            yield server

    @pytest.fixture
    async def provider(self, server: BatchServer) -> AsyncGenerator[Any]:
        provider = self.make(server)
        yield provider
        await provider.close()

    @pytest.fixture
    def offline(self, provider: Any) -> Offline:
        return provider.offline()

    async def test_every_request_comes_back_once_whatever_the_order(
        self, offline: Offline, server: BatchServer
    ) -> None:
        texts = [f"t-{n}" for n in range(20)]

        batch = await offline.submit("job-0-1", lines(offline, *texts))
        standing = await offline.status(batch)
        found = await collected(offline, batch)

        assert (standing.state, standing.total, standing.answered) == ("ended", 20, 20)
        assert sorted(found) == sorted(texts)
        assert list(found) != texts
        answers = [one.completion for one in found.values()]
        assert all(one is not None and '"billing"' in one.text for one in answers)

    async def test_a_batch_costs_its_share_of_the_price(
        self, offline: Offline, provider: Any
    ) -> None:
        batch = await offline.submit("job-0-1", lines(offline, "a"))
        completion = (await collected(offline, batch))["a"].completion

        price = offline.price("small")
        online = await provider.complete(request("a"))
        assert completion is not None
        assert completion.cost_nano is not None
        assert price is not None
        assert price == in_batch(provider.price("small"))
        assert completion.cost_nano * 2 == online.cost_nano

    async def test_a_batch_that_runs_says_so(self, offline: Offline, server: BatchServer) -> None:
        server.held = True
        batch = await offline.submit("job-0-1", lines(offline, "a", "b"))

        running = await offline.status(batch)
        server.release()
        ended = await offline.status(batch)

        assert (running.state, running.total) == ("running", 2)
        assert ended.state == "ended"

    async def test_rows_fail_one_by_one(self, offline: Offline, server: BatchServer) -> None:
        fates = {
            "bad": Fate(status=400), "late": Fate(expired=True), "cut": Fate(cut=True),
            "lost": Fate(garbled=True),
        }  # fmt: skip
        server.fate = lambda text: fates.get(text, Fate())

        batch = await offline.submit("job-0-1", lines(offline, "good", *fates))
        found = await collected(offline, batch)

        assert found["good"].completion is not None
        assert "lost" not in found
        assert isinstance(found["cut"].error, BadAnswer)
        assert [getattr(found[one].error, "cost_nano", "") for one in ("bad", "late")] == [0, 0]
        assert "as scripted" in str(found["bad"].error)
        assert "expired" in str(found["late"].error)

    async def test_a_cancelled_batch_says_what_was_not_run(
        self, offline: Offline, server: BatchServer
    ) -> None:
        server.held = True
        batch = await offline.submit("job-0-1", lines(offline, "a", "b"))

        await offline.cancel(batch)
        standing = await offline.status(batch)
        found = await collected(offline, batch)

        assert (standing.state, standing.cancelled) == ("ended", True)
        assert not [one for one in found.values() if one.completion or not one.cancelled]
        with pytest.raises(RouteError):
            await offline.cancel(batch)

    async def test_a_batch_whose_answer_was_lost_is_found_among_others(
        self, offline: Offline, server: BatchServer
    ) -> None:
        server.refuses.extend([0, -1])
        other = await offline.submit("job-0-1", lines(offline, "a", "b"))
        with pytest.raises(RouteError) as lost:
            await offline.submit("job-1-1", lines(offline, "c", "d"))
        await offline.submit("job-2-1", lines(offline, "e", "f"))

        began = server.batches[0].created - 5
        found = await offline.find(Sought("job-1-1", began, "c", 2, frozenset({other})))
        none = await offline.find(Sought("job-9-1", began, "z", 2))

        assert lost.value.cost_nano is None
        assert found.id == server.batches[1].id
        assert (none.id, none.sure) == ("", True)

    async def test_a_list_of_many_pages_is_read_to_its_end(
        self, offline: Offline, server: BatchServer
    ) -> None:
        first = await offline.submit("job-0-1", lines(offline, "a"))
        for number in range(1, 130):
            await offline.submit(f"job-{number}-1", lines(offline, f"b-{number}"))

        others = frozenset(one.id for one in server.batches[100:])
        found = await offline.find(Sought("job-0-1", server.batches[0].created, "a", 1, others))

        assert found.id == first

    @pytest.mark.parametrize("status", [400, 401, 404, 413, 429])
    async def test_a_batch_that_was_surely_not_made_costs_nothing(
        self, offline: Offline, server: BatchServer, status: int
    ) -> None:
        server.refuses.append(status)

        with pytest.raises(RouteError) as refused:
            await offline.submit("job-0-1", lines(offline, "a"))

        assert refused.value.cost_nano == 0
        assert isinstance(refused.value, ProviderLimited) == (status == 429)
        assert server.batches == []

    @pytest.mark.parametrize("status", [500, 502, 504])
    async def test_a_batch_that_may_have_been_made_costs_nobody_knows_what(
        self, offline: Offline, server: BatchServer, status: int
    ) -> None:
        server.refuses.append(status)

        with pytest.raises(RouteError) as unknown:
            await offline.submit("job-0-1", lines(offline, "a"))

        assert unknown.value.cost_nano is None

    @pytest.mark.parametrize("batch", ["nobody", "a/../b", "", "x y", "../files/f", "a\r\nb"])
    async def test_a_batch_that_is_not_there_is_an_error(
        self, offline: Offline, batch: str
    ) -> None:
        with pytest.raises(RouteError):
            await offline.status(batch)
