"""No bytes make a parser fail otherwise than by the refusal that it promises.

A short run, the same each time. `make fuzz` runs the same parsers for as long as one likes, guided
by coverage; what it found is among the inputs here.
"""

from __future__ import annotations

import os

import pytest
from mutations import mutations
from parsers import PARSERS, SEEDS

COUNT = int(os.environ.get("SPLICE_TEST_FUZZ", "3000"))
SLOW = {"toml", "spool"}

FOUND = [
    ("spool", b"\x91\x81\xa7call_id\xa1\xe1"),
    ("stream", b"\xef\xbb\xbfdata: a\n\n"),
]
"""Inputs that were faults once, by parser."""


@pytest.mark.parametrize("name", PARSERS)
def test_a_parser_reads_or_refuses_whatever_it_is_given(name: str) -> None:
    for raw in mutations(SEEDS[name], COUNT // 10 if name in SLOW else COUNT, seed=20261128):
        try:
            PARSERS[name](raw)
        except BaseException as error:
            raise AssertionError(f"{name} failed at {raw!r}") from error


@pytest.mark.parametrize(("name", "raw"), FOUND)
def test_what_was_a_fault_once_is_none(name: str, raw: bytes) -> None:
    PARSERS[name](raw)
