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

from splice.control.injection_words import ANCHORS, FOREIGN, Anchor
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
_SPACED: Final = pattern(rb"(?:\b\w[ ._*-]{1,3}){7,}\w\b")
_MOST_DECODED = 16  # runs of one text
_DECODED_BYTES = 4096

_ANY: Final = pattern("(?i)" + "|".join(f"({one.anchor})" for one in ANCHORS))
_CONFIRMS: Final[list[Any]] = [  # RE2 has no types
    pattern(f"(?is){one.confirm}") if one.confirm else None for one in ANCHORS
]
_FOREIGN: Final = pattern(FOREIGN)
_HINT: Final = pattern(
    "(?i)"
    + "|".join(f"(?:{one.anchor})" for one in ANCHORS)
    + r"|[a-z0-9+/_-]{24}|(?:[0-9a-f]{2}[ :]){16}|(?:\b\w[ ._*-]{1,3}){4}|%[0-9a-f]{2}|&#|\\u"
)
"""Where it finds nothing, there is nothing: most texts are done after this one pass."""


class Injection:
    """A Detector of attempts to give a model orders."""

    immediate = True

    def find(self, text: str) -> Found | None:
        """The first kind of attempt that is found, and how many there are of any kind."""
        kinds: list[str] = []
        for what in _kinds(text):
            kinds.append(what)
        return Found(kinds[0], len(kinds)) if kinds else None

    def redact(self, text: str) -> str:
        """Not to be asked: what is left of a text that gives orders is no better.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError


def _kinds(text: str) -> Iterator[str]:
    if text.isascii():
        raw = Folded(text).raw
    else:
        utf8 = text.encode("utf-8", "surrogatepass")
        hidden = _hidden(text, utf8)
        if hidden:
            yield "hidden"
            yield from _anchored(hidden.encode("ascii", "replace"))
        if _FOREIGN.search(utf8) is not None:
            yield "override"
        raw = Folded(text).raw
    if _HINT.search(raw) is None:
        return
    yield from _anchored(raw)
    if has_numbers(text):
        yield from _anchored(Folded(text, decoded=True).raw)
    for decoded in _decoded(raw):
        for _ in _anchored(decoded):
            yield "encoded"
            break


def _anchored(raw: bytes) -> Iterator[str]:
    budget = _CROWDED + len(raw) // _CROWDED_BYTES
    for match in _ANY.finditer(raw):
        if not budget:
            yield "crowded"
            return
        budget -= 1
        number = _number(match)
        one = ANCHORS[number]
        if _confirmed(one, _CONFIRMS[number], raw, match.start(), match.end()):
            yield one.what


def _number(match: Any) -> int:
    """Which anchor matched."""
    return int(match.lastindex) - 1


def _confirmed(one: Anchor, confirm: Any, raw: bytes, start: int, end: int) -> bool:
    if confirm is None:
        return True
    return confirm.search(raw[max(0, start - one.before) : end + one.after]) is not None


def _hidden(text: str, utf8: bytes) -> str:
    """What characters that nobody sees spell out; `?` where there are many and they spell nothing.

    Tag characters mirror ASCII (a flag has up to six of them); runs of other invisible characters
    can carry bits.
    """
    tags = "".join(
        chr(ord(one) - 0xE0000) for one in text if 0xE0020 <= ord(one) <= 0xE007E
    ) if _TAGS.search(utf8) is not None else ""  # fmt: skip
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
    left = _MOST_DECODED
    for expression, decode in ((_RUN, _base64), (_HEX, _hexadecimal), (_SPACED, _spaced)):
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


def _spaced(run: bytes) -> bytes:
    """`i g n o r e` is `ignore`; two characters between letters part words."""
    words = run.replace(b"   ", b"\0").replace(b"  ", b"\0").translate(None, b" ._*-")
    return words.replace(b"\0", b" ")


def _text(decoded: bytes) -> bytes:
    """It, where nearly all of it can be read."""
    readable = sum(1 for one in decoded if 32 <= one < 127 or one in (9, 10, 13))
    return decoded if decoded and readable >= 0.9 * len(decoded) else b""
