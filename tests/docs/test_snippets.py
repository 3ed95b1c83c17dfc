"""What README.md and docs/*.md show is run, from the first block of a page to its last."""

from __future__ import annotations

from pathlib import Path

import pytest
from docs_pages import LANGUAGES, PAGES, ROOT, Reader, blocks, commands, matches

from warm_splice import WarmSplice

NOT_RUN = {
    "README.md": [
        "CI runs both by themselves",
        "it installs into the environment that runs this",
        "the page on monitors runs the like",
        "it installs into the environment that runs this",
        "the pages on reviews, masking, guards and duties run the like",
    ],
    "docs/batch.md": [
        "needs a Kafka; tests/batch/test_kafka_ranges.py has one",
        "Ray is not among what the documentation is tested with; tests/batch/test_ray.py runs it",
    ],
    "docs/embed.md": ["Django is not among the development dependencies"],
    "docs/gateway.md": [
        "these addresses are not reachable from everywhere",
        "needs a Redis server",
    ],
    "docs/gates.md": ["it needs three people"],
    "docs/audit.md": ["the id is of a call of yours; tests/cli/test_audit_proofs.py runs them"],
    "docs/storage.md": ["no call of this project is old enough"],
    "docs/rollouts.md": [
        "its provider is a package of its own; tests/rollouts/test_flags.py runs it"
    ],
    "docs/extend.md": ["it installs into the environment that runs this"],
    "docs/remotes.md": ["no KServe, Triton or MLServer listens at these addresses"],
}
"""Blocks that are shown and not run, with the reason that stands above each of them."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_does_what_it_says(page: Path, tmp_path: Path, warm_splice: WarmSplice) -> None:
    with Reader(tmp_path, warm_splice.program("splice")) as reader:
        for block in blocks(page):
            reader.read(block)


def test_what_is_not_run_is_listed_with_its_reason() -> None:
    found: dict[str, list[str]] = {}
    for page in PAGES:
        for block in blocks(page):
            if "not run" in block.notes:
                found.setdefault(str(page.relative_to(ROOT)), []).append(block.notes["not run"])

    assert found == NOT_RUN


def test_every_block_of_every_page_has_a_language_that_is_known() -> None:
    pages = [*PAGES, *(ROOT / "docs" / "reference").glob("*.md")]
    strange = [b.place for page in pages for b in blocks(page) if b.language not in LANGUAGES]

    assert not strange


def test_three_dots_stand_for_anything_on_a_line_and_alone_for_any_lines() -> None:
    assert matches(["a … c"], "a b c\n")
    assert matches(["a", "…", "c"], "a\nb\nb\nc")
    assert matches(["a", "…"], "a")
    assert not matches(["a … c"], "a b\nc")
    assert not matches(["a"], "a\nb")


def test_a_console_block_is_taken_apart_into_commands_and_what_they_print() -> None:
    one, two = commands("$ first \\\n    more\nsaid\n$ second\n")

    assert (one.text, one.shown) == ("first \\\n    more", ["said"])
    assert (two.text, two.shown) == ("second", [])
