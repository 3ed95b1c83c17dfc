"""Plugins: adapters by entry point, ours and other people's alike."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from importlib.metadata import entry_points
from typing import Any

from splice.core.errors import SettingsError


def plugin(group: str, name: str, extra: str = "", others: Iterable[str] = ()) -> Any:
    """The object behind an entry point of `splice.GROUP`.

    Args:
        group: `ledgers`, `runtimes`, `providers`, `features` or `telemetry`.
        name: Name of the entry point.
        extra: What to install when its library is missing.
        others: Names that stand for a plugin too: the error for an unknown one lists them.

    Raises:
        SettingsError: There is none of that name, or its library is not installed.
    """
    found = entry_points(group=f"splice.{group}", name=name)
    if not found:
        plugins = {one.name for one in entry_points(group=f"splice.{group}")}
        known = ", ".join(sorted({*plugins, *others}))
        raise SettingsError(
            f"splice.{group}.{name}", got="no such plugin", promised=f"one of {known or 'none'}"
        )
    with _installed(group, name, extra):
        return next(iter(found)).load()


def made(group: str, name: str, extra: str, *given: Any) -> Any:
    """What a plugin makes of what it is given; it may import its library only then.

    Raises:
        SettingsError: As of `plugin`.
    """
    kind = plugin(group, name, extra)
    with _installed(group, name, extra):
        return kind(*given)


@contextmanager
def _installed(group: str, name: str, extra: str) -> Generator[None]:
    try:
        yield
    except ImportError as error:
        raise SettingsError(
            f"splice.{group}.{name}",
            got=f"{error}",
            mend=f"install {extra or 'the library that it names'}",
        ) from error


def available(group: str, name: str) -> Any:
    """Like `plugin`, but None where its library is not installed."""
    try:
        return plugin(group, name)
    except SettingsError:
        return None


def names(group: str) -> list[str]:
    """The names of all entry points of `splice.GROUP`."""
    return sorted({one.name for one in entry_points(group=f"splice.{group}")})
