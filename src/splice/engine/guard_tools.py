"""Tools: which a conversation may have and use, and which once it read something untrusted."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence
from typing import Any, cast

from splice.core.policies import PinnedPolicy, PolicyRun

_CALLS = frozenset(
    {"tool_use", "server_tool_use", "mcp_tool_use", "function_call", "custom_tool_call"}
)
_HOLDERS = ("function", "function_call", "custom")


class Tools:
    """A policy about tools.

    Args:
        integration: Whose it is.
        pinned: What it is.
    """

    def __init__(self, integration: str, pinned: PinnedPolicy) -> None:
        self.integration = integration
        self.pinned = pinned
        self.passed = PolicyRun(pinned.name, pinned.version)
        self._allowed = tuple(pinned.rule["tools"])
        after: list[str] | None = pinned.rule.get("after_untrusted")
        self._after = None if after is None else tuple(after)

    @property
    def narrows(self) -> bool:
        """Whether fewer are left once something untrusted came in."""
        return self._after is not None

    def stray(self, declared: Sequence[str], used: Sequence[str], *, untrusted: bool) -> list[str]:
        """Tools that are not allowed: of a request, and of an answer."""
        found = [one for one in declared if not _among(one, self._allowed)]
        return found + [one for one in used if not self.left(one, untrusted=untrusted)]

    def left(self, name: str, *, untrusted: bool) -> bool:
        """Whether the model may have it now."""
        if not _among(name, self._allowed):
            return False
        return not untrusted or self._after is None or _among(name, self._after)


def _among(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, one) for one in patterns)


def declared_name(tool: Any) -> str:
    """The name of a tool as a request declares it, in any dialect; `?` where it has none.

    What a provider runs itself has the name of its type (`web_search`), or of the server that it is
    to call (`mcp:LABEL`).
    """
    if not isinstance(tool, dict):
        return "?"
    plain = cast("dict[str, Any]", tool)
    kind = plain.get("type")
    for holder in ("function", "custom"):
        inner: Any = plain.get(holder)
        if isinstance(inner, dict):
            return _name(cast("dict[str, Any]", inner).get("name"))
    if kind == "mcp":
        return f"mcp:{_name(plain.get('server_label'))}"
    if isinstance(plain.get("name"), str):
        return _name(plain["name"])
    return _name(kind)


def _name(given: Any) -> str:
    return given if isinstance(given, str) and given else "?"


def called_names(value: Any) -> Iterator[str]:
    """The names of the tools that an answer, or a piece of one, calls, in any dialect."""
    waiting: list[Any] = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list):
            waiting += cast("list[Any]", one)
        if not isinstance(one, dict):
            continue
        plain = cast("dict[str, Any]", one)
        kind = plain.get("type")
        if isinstance(kind, str):
            name = plain.get("name")
            if kind in _CALLS or (kind == "mcp_call"):
                yield _name(name)
            elif kind.endswith("_call") and not kind.startswith("response."):
                yield kind.removesuffix("_call")
        for key, inner in plain.items():
            if key in _HOLDERS and isinstance(inner, dict):
                name = cast("dict[str, Any]", inner).get("name")
                if isinstance(name, str) and name:
                    yield name
            if isinstance(inner, (dict, list)):
                waiting.append(inner)
