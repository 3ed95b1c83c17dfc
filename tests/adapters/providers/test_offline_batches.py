"""Batch endpoints of OpenAI's and Anthropic's shape; the official clients know the server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import Any

import anthropic
import openai
import pytest

from splice.adapters.net.http import Http, HttpFault, origin_of
from splice.adapters.providers.anthropic import AnthropicProvider
from splice.adapters.providers.openai import OpenAIProvider
from splice.core.errors import ProviderFailed
from splice.core.prices import Price
from splice.ports.offline import Sought
from splice.testing.batch_server import BatchServer
from splice.testing.contracts.offline import OfflineContract, lines, request

KEY = "canary-key-5d0e77b1c2"
PRICES = {
    "small": Price(
        input_nano=100_000_000_000,
        output_nano=1_000_000_000_000,
        cached_nano=20_000_000_000,
        cache_write_nano=200_000_000_000,
        batch=0.5,
    )
}


class TestOpenAI(OfflineContract):
    def make(self, server: BatchServer) -> Any:
        return OpenAIProvider("remote", f"{server.url}/v1", KEY, prices=PRICES)

    async def test_a_batch_that_is_refused_as_a_whole_says_why(self, offline, server) -> None:
        server.ends_as = "failed"

        batch = await offline.submit("job-0-1", lines(offline, "a"))
        standing = await offline.status(batch)

        assert standing.state == "refused"
        assert standing.why == "Enqueued token limit reached"

    async def test_a_text_with_line_ends_and_boundaries_stays_one_request(
        self, offline, server
    ) -> None:
        text = "a\r\n--splice-batch-7d1f0c2e94b84f6c\r\n\u2028 end"
        batch = await offline.submit("job-0-1", [offline.encode("one", request(text))])

        assert (await offline.status(batch)).total == 1
        assert server.batches[0].requests[0]["body"]["messages"][-1]["content"] == text


class TestAnthropic(OfflineContract):
    def make(self, server: BatchServer) -> Any:
        return AnthropicProvider("remote", server.url, KEY, prices=PRICES)

    async def test_one_that_may_be_it_and_has_not_ended_leaves_it_open(
        self, offline, server
    ) -> None:
        server.held = True
        await offline.submit("job-0-1", lines(offline, "a"))

        sought = Sought("job-1-1", time.time(), "b", 1)
        open_ = await offline.find(sought)
        server.release()
        settled = await offline.find(sought)

        assert (open_.id, open_.sure) == ("", False)
        assert (settled.id, settled.sure) == ("", True)

    async def test_parameters_that_the_vendor_cannot_take_are_an_error_of_the_route(
        self, offline
    ) -> None:
        with pytest.raises(ProviderFailed):
            offline.encode("a", request("a", n=2))


async def test_a_request_that_may_have_been_read_is_not_sent_again() -> None:
    posted: list[bytes] = []
    over: list[asyncio.Task[None] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        over.append(asyncio.current_task())
        with contextlib.suppress(asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            while head.startswith(b"GET"):
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
                head = await reader.readuntil(b"\r\n\r\n")
            posted.append(head)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    http = Http(origin_of(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "x"), {},
                connect_s=5.0)  # fmt: skip
    async with server:
        await http.get("/", 5.0)  # leaves an idle connection behind
        with pytest.raises(HttpFault) as once:
            await http.post_once("/", b"{}", "application/json", 5.0)
        await http.close()
        await asyncio.gather(*filter(None, over))

    assert len(posted) == 1
    assert once.value.unread


@pytest.mark.parametrize("vendor", ["mistral", "ollama", "vllm", "azure"])
def test_vendors_without_openais_batches_have_none(vendor: str) -> None:
    provider = OpenAIProvider("remote", "http://127.0.0.1:9/v1", vendor=vendor)

    assert provider.offline() is None


def test_the_official_client_of_openai_can_use_the_server() -> None:
    body = {"model": "small", "messages": [{"role": "user", "content": "hi"}]}
    line = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body}
    with (
        BatchServer() as server,
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="k") as client,
    ):
        file = client.files.create(file=("x.jsonl", json.dumps(line).encode()), purpose="batch")
        made = client.batches.create(
            input_file_id=file.id,
            endpoint="/v1/chat/completions",
            completion_window="24h",
            metadata={"splice": "x"},
        )
        listed = list(client.batches.list())
        batch = client.batches.retrieve(made.id)
        content = client.files.content(batch.output_file_id or "").text

    assert [one.id for one in listed] == [made.id]
    assert (batch.status, batch.metadata) == ("completed", {"splice": "x"})
    assert batch.request_counts is not None
    assert batch.request_counts.completed == 1
    answer = json.loads(content)["response"]["body"]["choices"][0]["message"]["content"]
    assert answer == "HI"


def test_the_official_client_of_anthropic_can_use_the_server() -> None:
    params: Any = {
        "model": "small",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "hi"}],
    }
    with (
        BatchServer() as server,
        anthropic.Anthropic(base_url=server.url, api_key="k") as client,
    ):
        made = client.messages.batches.create(requests=[{"custom_id": "a", "params": params}])
        listed = list(client.messages.batches.list())
        batch = client.messages.batches.retrieve(made.id)

    assert [one.id for one in listed] == [made.id]
    assert batch.processing_status == "ended"
    assert batch.request_counts.succeeded == 1
