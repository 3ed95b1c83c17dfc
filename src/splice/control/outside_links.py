"""Addresses in what a model says, which a reader's program may fetch by itself.

A picture in Markdown or HTML is fetched as soon as it is shown: whoever made the model write it
learns what stands in its address. It needs `splice-ai[masking]`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from splice.control.masking_rules import pattern
from splice.ports.policies import Found

_PLACEHOLDER = "[link]"
_LINK: Final = pattern(
    r"(?i)(!\[[^\]\n]*\] ?\([^)\n]*\)|!\[[^\]\n]*\]\[[^\]\n]*\]"
    r"|<(?:img|iframe|script|link|object|embed|video|audio|source|form|svg|image|base|meta|style)\b"
    r"[^>]*>?)"
    r"|((?:https?|ftp|wss?|file|data|javascript|vbscript):(?://)?[^\s<>()\[\]\"'`]+"
    r"|(?:\]\(|\]: ?)\s*<?//[^\s)>]+)"
)


class OutsideLinks:
    """A Detector of addresses to other hosts than those that are allowed.

    Args:
        allowed: Hosts, each with all below it (`example.com`).
    """

    immediate = True

    def __init__(self, allowed: Sequence[str] = ()) -> None:
        self._allowed = tuple(one.lower().strip(".") for one in allowed)

    def find(self, text: str) -> Found | None:
        """`image` where something is fetched by being shown, else `link`; and how many."""
        kinds = [kind for _, _, kind in self._spans(text)]
        if not kinds:
            return None
        return Found("image" if "image" in kinds else "link", len(kinds))

    def redact(self, text: str) -> str:
        """The text with `[link]` in the place of each."""
        pieces: list[str] = []
        done = 0
        for start, end, _ in self._spans(text):
            pieces += (text[done:start], _PLACEHOLDER)
            done = end
        return "".join((*pieces, text[done:]))

    def _spans(self, text: str) -> list[tuple[int, int, str]]:
        if ":" not in text and "<" not in text and "](" not in text and "![" not in text:
            return []
        spans: list[tuple[int, int, str]] = []
        for match in _LINK.finditer(text):
            start, end = match.span()
            is_image = match.span(1)[0] >= 0
            if not self._is_allowed(match.group(), is_image=is_image):
                spans.append((start, end, "image" if is_image else "link"))
        return spans

    def _is_allowed(self, found: str, *, is_image: bool) -> bool:
        if not self._allowed:
            return False
        address = found
        if is_image:
            inner = _ADDRESS.search(found)
            if inner is None:
                return False
            address = inner.group()
        try:
            parts = urlsplit(address.lstrip("]():< \t"))
        except ValueError:
            return False
        host = (parts.hostname or "").rstrip(".")
        # A user name before the host is there to be mistaken for it.
        if parts.scheme not in ("http", "https", "") or "@" in parts.netloc or not host:
            return False
        return any(host == one or host.endswith(f".{one}") for one in self._allowed)


_ADDRESS: Final = pattern(r"(?i)https?://[^\s<>()\[\]\"'`]+")
