"""What a newcomer gets wrong with events is said at once, in one sentence, and loses nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

GOOD = '{"customer": "c-1", "amount_eur": 900}\n'


def cloud_event(number: str, data: Any) -> str:
    event = {"specversion": "1.0", "id": number, "source": "/shop", "type": "order.placed"}
    return json.dumps(event | {"data": data}) + "\n"


@pytest.fixture
def waiting(applied: Callable[[str], Any], orders: Any) -> Any:
    """A live integration, and one event in its queue."""
    applied("")
    orders.write("in.jsonl", GOOD)
    orders("events", "publish", "order-screening", "in.jsonl")
    return orders


@pytest.mark.parametrize(
    ("section", "names"),
    [
        ("", ["order-screning"]),
        ("", ["order-screening", "nope"]),
        ('[consume.order-screning]\ntargets = ["table:decisions"]\n', []),
        ('[consume.order-screning]\nsource = "queue:order-screening"\n', []),
        ("[consume.order-screning]\nworkers = 2\n", []),
    ],
)
def test_a_name_that_is_none_is_refused_before_anything_is_taken(
    waiting: Any, section: str, names: list[str]
) -> None:
    waiting.settings(f'[project]\nmodules = ["integrations"]\n\n{section}')

    ran = waiting("consume", *names, "--until-empty")

    assert ran.code == 2
    assert waiting("calls", "list", "--json").json == []
    if section:
        checked = waiting("check")
        assert checked.code == 2
        assert "consume.order-screning: got no integration of that name" in checked.err
        assert "expected one of order-screening" in checked.err
    waiting.settings('[project]\nmodules = ["integrations"]\n')
    assert waiting("consume", "order-screening", "--until-empty").code == 0
    assert len(waiting("calls", "list", "--json").json) == 1


@pytest.mark.parametrize(
    ("consume", "said"),
    [
        ('source = "queue:"', "consume.order-screening.source: got queue:, expected"),
        ('source = "rabbitmq:x"', "expected kafka:TOPIC or queue:NAME"),
        ('targets = ["tabel:x"]', "consume.order-screening.targets: got tabel:x"),
        ('targets = ["queue:order-screening"]', "the stream that it reads, expected another"),
        ('dead = "queue:order-screening"', "consume.order-screening.dead: got queue:"),
    ],
)
def test_a_stream_that_cannot_be_is_told_by_check_and_by_consume(
    waiting: Any, consume: str, said: str
) -> None:
    waiting.settings(
        f'[project]\nmodules = ["integrations"]\n\n[consume.order-screening]\n{consume}\n'
    )

    checked = waiting("check")

    assert checked.code == 2
    assert said in checked.err
    assert waiting("consume", "--until-empty").code == 2
    assert waiting("calls", "list", "--json").json == []


def test_events_that_are_not_checked_keep_their_identity(waiting: Any) -> None:
    waiting.write(
        "more.jsonl",
        "not json\n"
        + cloud_event("o-1", {"customer": "c-1", "amount_eur": 900})
        + cloud_event("o-2", {"customer": "c-1", "amount_eur": "9"})
        + cloud_event("o-1", {"customer": "c-1", "amount_eur": 1})
        + '{"specversion": "1.0", "id": 7}\n',
    )
    published = waiting("events", "publish", "order-screening", "more.jsonl", "--unchecked")
    assert published.out == "5 events published\n"

    assert waiting("consume", "--until-empty").code == 0

    letters = waiting("events", "list", "--json").json
    assert {one["code"] for one in letters} == {
        "malformed_body", "input_mismatch", "event_id_reused"
    }  # fmt: skip
    (wrong,) = [one for one in letters if one["where"].endswith("amount_eur")]
    assert "got str" in wrong["detail"]
    shown = waiting("events", "show", str(wrong["number"])).json
    named = {one["name"]: one["value"] for one in shown["headers"]}
    assert (named["ce_id"], named["ce_source"], named["ce_specversion"]) == ("o-2", "/shop", "1.0")
    assert len(waiting("calls", "list", "--json").json) == 2


def test_a_wrong_line_says_how_much_was_published_before_it(waiting: Any) -> None:
    waiting.write("part.jsonl", GOOD + GOOD + '{"customer": "c-1"}\n' + GOOD)

    ran = waiting("events", "publish", "order-screening", "part.jsonl")

    assert ran.code == 2
    assert "2 events published, up to the line before it." in ran.err
    assert "part.jsonl:3: order-screening.input.amount_eur" in ran.err


def test_a_letter_is_shown_as_it_came(waiting: Any) -> None:
    twice = '{"customer": "c", "amount_eur": 10, "amount_eur": 20}'
    waiting.write("twice.jsonl", twice + "\n")
    waiting("events", "publish", "order-screening", "twice.jsonl", "--unchecked")
    waiting("consume", "--until-empty")
    (letter,) = waiting("events", "list", "--json").json

    assert waiting("events", "show", str(letter["number"])).json["value"] == twice


def test_what_is_looked_for_in_vain_is_told(waiting: Any) -> None:
    state = waiting("events", "list", "--state", "deaf")
    nobody = waiting("events", "list", "--integration", "nope")
    known = waiting("events", "list", "--integration", "order-screening")
    replayed = waiting("events", "replay", "99", "--yes")
    dropped = waiting("events", "drop", "98", "99", "--why", "x", "--yes")

    assert (state.code, nobody.code, known.code) == (2, 2, 0)
    assert "expected dead, replayed, dropped or all" in state.err
    assert "nope: got no live release of that name" in nobody.err
    assert (replayed.code, dropped.code) == (1, 1)
    assert "There is none of number 99: splice events list" in replayed.err
    assert "There is none of number 98, 99" in dropped.err


def test_an_outcome_of_an_unknown_integration_is_kept_and_told(waiting: Any) -> None:
    waiting.write(
        "outcomes.jsonl",
        '{"integration": "order-screning", "name": "unpaid", "value": true, "entity": "c-1"}\n'
        '{"integration": "order-screening", "name": "unpaid", "value": true, "entity": "c-1"}\n',
    )

    added = waiting("outcomes", "add", "outcomes.jsonl")

    assert added.code == 0
    assert added.out == "2 outcomes, 2 new\n"
    assert "There is no live release of order-screning" in added.err
    assert "order-screening" not in added.err


def test_before_any_release_publishing_says_how_to_get_one(orders: Any) -> None:
    orders.write("in.jsonl", GOOD)

    ran = orders("events", "publish", "order-screening", "in.jsonl")

    assert ran.code == 2
    assert "got no live release of any name. splice release apply makes one" in ran.err
