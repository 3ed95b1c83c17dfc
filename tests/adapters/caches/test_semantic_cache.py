"""The semantic cache in this process: its contract, its bounds, and an encoder in trouble."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from splice.adapters.caches.encoder import (
    OnnxEncoder,
    open_semantic_cache,
    packaged_encoder,
)
from splice.adapters.caches.semantic import MemorySemanticCache
from splice.core.errors import SettingsError
from splice.testing.contracts.caches import LONG, SemanticCacheContract


class Clock:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class WordEncoder:
    """Texts are as near as the words that they share."""

    def __init__(self) -> None:
        self.texts = 0

    def encode(self, texts: Sequence[str]) -> list[list[float]]:
        self.texts += len(texts)
        vectors = np.zeros((len(texts), 256))
        for row, text in enumerate(texts):
            for word in text.lower().split():
                vectors[row, hashlib.sha256(word.encode()).digest()[0]] += 1
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return (vectors / np.maximum(norms, 1e-9)).tolist()


class BlockedEncoder(WordEncoder):
    """Encodes when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()

    def encode(self, texts: Sequence[str]) -> list[list[float]]:
        self.go.wait(10)
        return super().encode(texts)


class BrokenEncoder:
    """Fails."""

    def encode(self, texts: Sequence[str]) -> list[list[float]]:
        raise RuntimeError("no session")


CLOCK = Clock()


@pytest.fixture
def semantic() -> MemorySemanticCache:
    return MemorySemanticCache(WordEncoder(), clock=CLOCK)


class TestMemorySemanticCache(SemanticCacheContract):
    async def wait(self, seconds: float) -> None:
        CLOCK.now += seconds


class TestWithMiniLM(SemanticCacheContract):
    pytestmark = pytest.mark.model

    @pytest.fixture
    def semantic(self) -> MemorySemanticCache:
        return open_semantic_cache()


async def ask(cache: MemorySemanticCache, text: str, space: str = "s") -> bytes | None:
    near = await cache.near(space, text, 0.99)
    return None if near is None else near.value


async def test_the_oldest_goes_first_and_the_others_are_still_found() -> None:
    cache = MemorySemanticCache(WordEncoder(), max_entries=50)

    for n in range(120):
        await cache.put(f"s{n % 3}", f"Where is invoice {n}?", b"%d" % n, LONG)

    found = [await ask(cache, f"Where is invoice {n}?", f"s{n % 3}") for n in range(120)]
    assert found == [None] * 70 + [b"%d" % n for n in range(70, 120)]


async def test_a_space_has_its_own_bound() -> None:
    clock = Clock()
    cache = MemorySemanticCache(WordEncoder(), max_in_space=20, clock=clock)
    await cache.put("other", "Where is my order?", b"1", LONG)

    for n in range(100):
        clock.now += 0.01
        await cache.put("s", f"Where is invoice {n}?", b"%d" % n, LONG)
        assert len(cache) <= 21

    assert await ask(cache, "Where is invoice 99?") == b"99"
    assert await ask(cache, "Where is my order?", "other") == b"1"


async def test_the_bound_in_bytes_holds_and_a_huge_answer_empties_nothing() -> None:
    cache = MemorySemanticCache(WordEncoder(), max_bytes=100_000)
    await cache.put("s", "Where is my order?", b"x", LONG)

    await cache.put("s", "When are you open?", b"x" * 90_000, LONG)

    assert await ask(cache, "Where is my order?") == b"x"
    for n in range(300):
        await cache.put("s", f"Where is invoice {n}?", b"x" * 5000, LONG)
        assert cache.bytes <= 100_000
    await cache.clear("")
    assert cache.bytes == 0


async def test_the_second_check_lets_a_farther_one_pass_where_the_nearest_is_wrong() -> None:
    cache = MemorySemanticCache(WordEncoder())
    await cache.put("s", "Where is my invoice 4711 now please", b"wrong", LONG)
    await cache.put("s", "Please tell me where my invoice 4712 is now", b"right", LONG)

    near = await cache.near("s", "Where is my invoice 4712 now please", 0.1)

    assert near is None or near.value == b"right"
    assert near is None or near.text.find("4712") > 0


async def test_a_question_that_found_nothing_is_encoded_once() -> None:
    encoder = WordEncoder()
    cache = MemorySemanticCache(encoder)
    await cache.put("s", "When are you open?", b"9", LONG)

    await cache.near("s", "Where is my order?", 0.9)
    await cache.put("s", "Where is my order?", b"1", LONG)

    assert encoder.texts == 2


async def test_an_empty_space_costs_no_encoding() -> None:
    encoder = WordEncoder()

    assert await MemorySemanticCache(encoder).near("s", "Where is my order?", 0.0) is None

    assert encoder.texts == 0


async def test_a_slow_encoder_holds_no_loop_and_no_more_than_a_few_callers_up() -> None:
    encoder = BlockedEncoder()
    cache = MemorySemanticCache(encoder)
    encoder.go.set()
    await cache.put("s", "Where is my order?", b"1", LONG)
    encoder.go.clear()

    asked = [asyncio.create_task(ask(cache, f"Where is invoice {n}?")) for n in range(100)]
    done, waiting = await asyncio.wait(asked, timeout=0.05)

    assert {task.result() for task in done} == {None}
    assert 0 < len(waiting) <= 32
    encoder.go.set()
    await asyncio.gather(*waiting)
    await cache.close()


async def test_a_caller_that_goes_away_leaves_the_encoder_usable() -> None:
    encoder = BlockedEncoder()
    cache = MemorySemanticCache(encoder)
    putting = asyncio.create_task(cache.put("s", "Where is my order?", b"1", LONG))
    await asyncio.sleep(0)
    putting.cancel()
    await asyncio.gather(putting, return_exceptions=True)
    encoder.go.set()

    await cache.put("s", "When are you open?", b"9", LONG)

    assert await ask(cache, "When are you open?") == b"9"


async def test_a_broken_encoder_is_no_cache() -> None:
    cache = MemorySemanticCache(BrokenEncoder())

    await cache.put("s", "Where is my order?", b"1", LONG)

    assert await ask(cache, "Where is my order?") is None
    assert cache.trouble == "RuntimeError"


def test_a_file_with_another_hash_is_not_loaded(tmp_path: Path) -> None:
    for name in ("model.onnx", "tokenizer.json"):
        (tmp_path / name).write_bytes(b"{}")

    with pytest.raises(SettingsError, match="SHA-256"):
        open_semantic_cache(tmp_path)


def test_a_folder_without_the_files_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"model\.onnx"):
        open_semantic_cache(tmp_path / "nowhere")


@pytest.mark.model
class TestEncoder:
    @pytest.fixture
    def encoder(self) -> OnnxEncoder:
        return packaged_encoder()

    def test_pieces_are_those_of_the_original_tokeniser(self, encoder: OnnxEncoder) -> None:
        tokenizers = pytest.importorskip("tokenizers")
        from splice.adapters.caches import encoder as file

        path = file._packaged(*file._PACKAGED[1])  # pyright: ignore[reportPrivateUsage]
        original = tokenizers.Tokenizer.from_file(str(path))
        original.no_padding()
        texts = [
            "How do I reset my password?",
            "naïve Łódź ½ x² don't $5 <b>€100 中文字 テスト İstanbul ẞ ﬁ 😀 \u200bzero\u00adsoft",
            "",
            "a" * 101 + " b",
            "word " * 300,
            "\x00\x01a\ufffd\tb\nc",
            *(
                f"a{chr(code)}b"
                for code in (*range(1, 0x600), *range(0x2000, 0x2070), 0x4E2D, 0xAC00)
                if unicodedata.category(chr(code)) != "Cn"
            ),
        ]

        wrong = [text for text in texts if encoder.pieces(text) != original.encode(text).ids]

        assert wrong == []

    def test_vectors_have_length_1_and_do_not_hang_on_the_batch(self, encoder: OnnxEncoder) -> None:
        texts = ["Where is my order?", "", "word " * 300, "Wo ist meine Bestellung?"]

        together = np.asarray(encoder.encode(texts))
        alone = np.asarray([encoder.encode([text])[0] for text in texts])

        assert np.linalg.norm(together, axis=1) == pytest.approx(np.ones(4), abs=1e-5)
        assert np.abs(together - alone).max() < 1e-4
        assert encoder.encode([]) == []
