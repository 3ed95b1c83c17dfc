"""The tables of the law that come with the package, read when they are first asked for."""

from __future__ import annotations

import functools
from importlib.resources import files

import msgspec

from splice.core.law import Framework, Law


@functools.cache
def eu_ai_act() -> Law:
    """The EU AI Act: what makes a risk, which duties follow, and from when."""
    return msgspec.json.decode(_read("eu_ai_act.json"), type=Law)


@functools.cache
def frameworks() -> tuple[Framework, ...]:
    """NIST AI RMF, ISO/IEC 42001 and SR 26-2, mapped to the items of the duties."""
    return msgspec.json.decode(_read("frameworks.json"), type=tuple[Framework, ...])


def _read(name: str) -> bytes:
    return files("splice.declare").joinpath("law", name).read_bytes()
