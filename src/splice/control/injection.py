"""A tripwire for prompt injection: words that try to give a model orders, however written.

It is a tripwire and no wall: who wants to get around it will. What protects is what a model may
reach (see docs/security.md). It needs `splice-ai[masking]`, whose RE2 keeps its time linear.
"""

from __future__ import annotations

import base64
import binascii
import unicodedata
from collections.abc import Iterator
from typing import Any, Final

from splice.control.injection_words import ANCHORS, FOREIGN
from splice.control.masking_rules import pattern
from splice.control.masking_text import Folded, has_numbers
from splice.ports.policies import Found

_CROWDED = 64
_CROWDED_BYTES = 512
"""So many anchors, and one more for so many bytes, are looked at; a text that has more of them than
any honest one hides something."""

_TAGS: Final = pattern(rb"\xf3\xa0[\x80\x81][\x80-\xbf]")
_HIDDEN_RUN = 8  # invisible characters that can carry text, one after the other
_RUN: Final = pattern(rb"[A-Za-z0-9+/_-]{24,}={0,2}")
_HEX: Final = pattern(rb"(?:[0-9a-fA-F]{2}[ :]?){16,}")
_SPACED: Final = pattern(rb"(?:\b\w[ ._*-]{1,3}){4,}\w\b")
_MOST_DECODED = 16  # runs of one text
_DECODED_BYTES = 4096

_ANCHOR: Final = pattern("(?i)" + "|".join(f"(?:{one.anchor})" for one in ANCHORS))
_ANCHORS: Final[list[Any]] = [pattern(f"(?i){one.anchor}") for one in ANCHORS]  # RE2: no types
_CONFIRMS: Final[list[Any]] = [
    pattern(f"(?is){one.confirm}") if one.confirm else None for one in ANCHORS
]
_FOREIGN: Final = pattern(f"(?i){FOREIGN}")
_ENCODED: Final = pattern(
    r"(?i)[a-z0-9+/_-]{24}|(?:[0-9a-f]{2}[ :]){16}|(?:\b\w[ ._*-]{1,3}){4}\w\b|%[0-9a-f]{2}|&#|\\u"
)
_HINT: Final = pattern(f"{_ANCHOR.pattern}|{_ENCODED.pattern.removeprefix('(?i)')}")
"""Where it finds nothing, there is nothing: many texts are done after this one pass."""
_REMEMBERED = 10_000  # kinds of anchors by their words; a hostile text could bring many


class Injection:
    """A Detector of attempts to give a model orders."""

    immediate = True

    def __init__(self) -> None:
        self._kinds: dict[bytes, tuple[int, ...]] = {}

    def find(self, text: str) -> Found | None:
        """The first kind of attempt that is found, and how many there are of any kind."""
        kinds = list(self._found(text))
        return Found(kinds[0], len(kinds)) if kinds else None

    def redact(self, text: str) -> str:
        """Not to be asked: what is left of a text that gives orders is no better.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError

    def _found(self, text: str) -> Iterator[str]:
        folded = Folded(text)
        raw = folded.raw
        if not text.isascii():
            utf8 = text.encode("utf-8", "surrogatepass")
            hidden = _hidden(text, utf8)
            if hidden:
                yield "hidden"
                yield from self._anchored(hidden.encode("ascii", "replace"))
            if _FOREIGN.search(utf8) is not None:
                yield "override"
        if _HINT.search(raw) is None:
            return
        yield from self._anchored(raw)
        if _ENCODED.search(raw) is None:
            return
        if has_numbers(text):
            yield from self._anchored(Folded(text, decoded=True).raw)
        for decoded in _decoded(raw):
            if next(self._anchored(decoded), None) is not None:
                yield "encoded"

    def _anchored(self, raw: bytes) -> Iterator[str]:
        if _ANCHOR.search(raw) is None:  # quicker than an iterator that finds nothing
            return
        budget = _CROWDED + len(raw) // _CROWDED_BYTES
        for match in _ANCHOR.finditer(raw):
            if not budget:
                yield "crowded"
                return
            budget -= 1
            start, end = match.span()
            for number in self._kinds_of(raw[start:end].lower()):
                if _confirmed(number, raw, start, end):
                    yield ANCHORS[number].what
                    break

    def _kinds_of(self, words: bytes) -> tuple[int, ...]:
        """Which kinds of anchors these words are; as a rule they have been seen before."""
        found = self._kinds.get(words)
        if found is None:
            found = tuple(
                number for number, one in enumerate(_ANCHORS) if one.search(words) is not None
            )
            if len(self._kinds) < _REMEMBERED:
                self._kinds[words] = found
        return found


def _confirmed(number: int, raw: bytes, start: int, end: int) -> bool:
    one, confirm = ANCHORS[number], _CONFIRMS[number]
    if confirm is None:
        return True
    return confirm.search(raw[max(0, start - one.before) : end + one.after]) is not None


def _hidden(text: str, utf8: bytes) -> str:
    """What characters that nobody sees spell out; `?` where there are many and they spell nothing.

    Tag characters mirror ASCII (a flag has up to six of them); runs of other invisible characters
    can carry bits.
    """
    tags = ""
    if _TAGS.search(utf8) is not None:
        tags = "".join(chr(ord(one) - 0xE0000) for one in text if 0xE0020 <= ord(one) <= 0xE007E)
    if len(tags) > _HIDDEN_RUN:
        return tags
    run = 0
    for one in text:
        code = ord(one)
        unseen = code > 0x7F and (
            0xFE00 <= code <= 0xFE0F
            or 0xE0100 <= code <= 0xE01EF
            or unicodedata.category(one) == "Cf"
        )
        run = run + 1 if unseen else 0
        if run > _HIDDEN_RUN:
            return "?"
    return ""


def _decoded(raw: bytes) -> Iterator[bytes]:
    """Texts that stand in it encoded: base64, hexadecimal, letters with something between them."""
    together = _together(raw)
    if together:
        yield together
    left = _MOST_DECODED
    for expression, decode in ((_RUN, _base64), (_HEX, _hexadecimal)):
        for match in expression.finditer(raw):
            if not left:
                return
            text = decode(raw[match.start() : match.end()][:_DECODED_BYTES])
            if text:
                left -= 1
                yield text


def _base64(run: bytes) -> bytes:
    plain = run.rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
    try:
        return _text(base64.b64decode(plain[: len(plain) // 4 * 4]))
    except (binascii.Error, ValueError):
        return b""


def _hexadecimal(run: bytes) -> bytes:
    plain = run.translate(None, b" :")
    return _text(bytes.fromhex(plain[: len(plain) // 2 * 2].decode()))


def _together(raw: bytes) -> bytes:
    """The text with `i g n o r e` as `ignore`; empty where there is none of that."""
    pieces: list[bytes] = []
    done = 0
    for match in _SPACED.finditer(raw):
        start, end = match.span()
        run = raw[start:end].replace(b"   ", b"\0").replace(b"  ", b"\0")  # between words
        pieces += (raw[done:start], run.translate(None, b" ._*-").replace(b"\0", b" "))
        done = end
    return b"".join((*pieces, raw[done:])) if pieces else b""


def _text(decoded: bytes) -> bytes:
    """It, where nearly all of it can be read."""
    readable = sum(1 for one in decoded if 32 <= one < 127 or one in (9, 10, 13))
    return decoded if decoded and readable >= 0.9 * len(decoded) else b""
