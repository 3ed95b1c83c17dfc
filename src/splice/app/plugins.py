"""Plugins: adapters by entry point, ours and other people's alike."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import EntryPoint, distributions
from typing import Any

from splice.core.errors import SettingsError

_OURS = "splice."


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
    found = _points(group)
    if name not in found:
        known = ", ".join(sorted({*found, *others}))
        raise SettingsError(
            f"splice.{group}.{name}", got="no such plugin", promised=f"one of {known or 'none'}"
        )
    with _installed(group, name, extra):
        return found[name].load()


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
    """The names of all entry points of `splice.GROUP`, in the order in which they are declared."""
    return list(_points(group))


def _points(group: str) -> dict[str, EntryPoint]:
    """By name; of two that share one, that of the folder that imports are looked for in first."""
    found: dict[str, EntryPoint] = {}
    for entry in sys.path:
        folder = os.path.abspath(entry)  # an empty one is the working folder
        try:
            changed_ns = os.stat(folder).st_mtime_ns
        except OSError:  # it need not be there
            continue
        for point in _in_folder(folder, changed_ns):
            if point.group == _OURS + group:
                found.setdefault(point.name, point)
    return found


@lru_cache(maxsize=64)
def _in_folder(folder: str, _changed_ns: int) -> tuple[EntryPoint, ...]:
    """All of ours among what is installed in a folder, as it was when it changed last.

    To read what two hundred packages say takes some ten milliseconds, and a start asks ten times.
    """
    return tuple(
        point
        for package in distributions(path=[folder])
        for point in package.entry_points
        if point.group.startswith(_OURS)
    )
