"""`splice accuracy`: from a declaration and a file of outcomes to figures, without a server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

TRUTH = 'truth = splice.Truth("unpaid", predicted="action", foretold="review", matures="30 d")'


@pytest.fixture
def shop(command) -> Path:
    """A project with a truth, three answered orders and the outcome of two of them."""
    folder = command.folder
    for file in folder.glob("*"):
        if file.is_file():
            file.unlink()
    assert command("init", ".").code == 0
    declaration = folder / "integrations.py"
    text = declaration.read_text().replace(
        '    deadline = "200 ms"\n', f'    deadline = "200 ms"\n    {TRUTH}\n'
    )
    declaration.write_text(text)
    (folder / "orders.csv").write_text(
        "customer,amount_eur,items,new_customer\nc-1,640,1,true\nc-2,25,3,false\nc-3,18,1,false\n"
    )
    outcomes = [
        {"integration": "order-screening", "entity": f"c-{n}", "name": "unpaid", "value": n == 1}
        for n in (1, 2)
    ]
    (folder / "outcomes.jsonl").write_text("\n".join(map(json.dumps, outcomes)))
    for arguments in (
        ("release", "apply", "--yes"),
        ("batch", "order-screening", "orders.csv", "--out", "answers.csv"),
        ("outcomes", "add", "outcomes.jsonl"),
    ):
        ran = command(*arguments)
        assert ran.code == 0, ran.err
    return folder


def test_what_is_known_is_told_and_what_is_not_due_does_not_count(command, shop: Path) -> None:
    ran = command("accuracy", "order-screening")
    early = command("accuracy", "order-screening", "--early", "--by", "release")

    assert ran.code == 0
    assert "0 of 3 calls are older than 30 d" in ran.err
    assert "2 outcomes of younger calls do not count yet" in ran.err
    assert "unknown" in ran.out
    assert "accuracy           100.0 %" in early.out
    assert "those that come early are not like the rest" in early.err


def test_a_program_reads_json(command, shop: Path) -> None:
    ran = command("accuracy", "order-screening", "--early", "--json")

    told = json.loads(ran.out)
    assert told["counts"]["early"] == 2
    assert {one["name"]: one["value"] for one in told["figures"]}["recall"] == 1.0


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("nobody",), 2, "no release of that name"),
        (("order-screening", "--by", "weather"), 2, "got 'weather'"),
        (("order-screening", "--window", "soon"), 2, "--window: got 'soon'"),
        (("order-screening", "--until", "2020-01-01"), 2, "no time at all"),
        (("order-screening", "--outcome", "paid"), 0, "No truth 'paid' is declared"),
    ],
)
def test_what_cannot_be_answered_says_so(
    command, shop: Path, arguments: tuple[str, ...], code: int, says: str
) -> None:
    ran = command("accuracy", *arguments)

    assert ran.code == code
    assert says in ran.err
