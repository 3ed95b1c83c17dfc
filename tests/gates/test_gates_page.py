"""The page on gates tells every gate and every metric, as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from splice.core.metrics import METRICS
from splice.declare.gates import GATES

PAGE = (Path(__file__).parents[2] / "docs" / "gates.md").read_text("utf-8")


@pytest.mark.parametrize("gate", GATES)
def test_every_gate_stands_in_the_table(gate: type) -> None:
    assert f"| `{gate.__name__}(" in PAGE


def test_the_table_of_metrics_is_what_the_metrics_say() -> None:
    _, _, table = PAGE.partition("| metric | what | unit | better |\n|---|---|---|---|\n")
    lines = table.partition("\n\n")[0].splitlines()

    assert lines == [
        f"| `{one.name}` | {one.meaning}{f' ({one.source})' if one.source else ''} | {one.unit} | "
        f"{'higher' if one.higher_is_better else 'lower'} |"
        for one in METRICS.values()
    ]
