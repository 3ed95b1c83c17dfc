"""Drift asked of a ledger: windows, releases, segments, the training data; and the command."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from profiles_house import HOUR_US, normal, profiled, record

import splice
from splice.app.references import training_of
from splice.app.rolling import catch_up
from splice.app.settings import load
from splice.app.wiring import Stores
from splice.core.ids import derived_uuid7
from splice.core.profiles import Against, ColumnDrift, DriftQuestion, DriftReport
from splice.core.release import Manifest, PinnedGates, Release
from splice.core.rollups import DAY_S, HOUR_S, Window
from splice.declare.profiling import read_profile
from splice.monitor.plans import plan_of
from splice.monitor.references import drift_of, pieces_of
from splice.ports.rollups import Piece

DAY_US = 24 * HOUR_US
MIDNIGHT_US = 1_790_000_000_000_000 // DAY_US * DAY_US


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    (tmp_path / "splice.toml").write_text('[project]\nmodules = ["none"]\n')
    opened = Stores(load(tmp_path))
    yield opened
    opened.close()


def spread(store: Stores, begin_us: int, hours: int, values: list[float], **fields: Any) -> None:
    """So many calls, evenly over hours."""
    step = hours * HOUR_US // len(values)
    records = [
        msgspec.structs.replace(
            record(0, {"x": value}, at_us=begin_us + number * step),
            call_id=derived_uuid7((begin_us + number * step) // 1000, f"{number} {fields}"),
            **fields,
        )
        for number, value in enumerate(values)
    ]
    store.records.append(records)
    assert catch_up(store, 60)


def asked(stores: Stores, window: Window, against: Against, **fields: Any) -> DriftReport:
    return drift_of(stores.rollups, DriftQuestion("screening", window, against, **fields))


def x_of(report: DriftReport) -> ColumnDrift:
    return next(one for one in report.columns if one.column == "x")


def test_a_window_is_compared_with_an_earlier_one_to_the_hour(stores: Stores) -> None:
    spread(stores, MIDNIGHT_US - 2 * DAY_US, 48, normal(960))
    spread(stores, MIDNIGHT_US, 6, normal(300, 1))
    now = Window(MIDNIGHT_US + HOUR_US + 5, MIDNIGHT_US + 6 * HOUR_US)
    before = Window(MIDNIGHT_US - 30 * HOUR_US, MIDNIGHT_US)

    report = asked(stores, now, Against("window", before))

    found = x_of(report)
    assert found.alarm
    assert (found.calls, found.reference_calls) == (250, 600)
    assert (report.calls, report.reference_calls) == (250, 600)


def test_shadows_are_left_out_and_releases_kept_apart(stores: Stores) -> None:
    spread(stores, MIDNIGHT_US - HOUR_US, 1, normal(200))
    spread(stores, MIDNIGHT_US, 1, normal(100, 3), shadow_of="other", variant="shadow")
    spread(stores, MIDNIGHT_US, 1, normal(150, 2), release=2)
    spread(stores, MIDNIGHT_US, 1, normal(120, 0.01))
    now = Window(MIDNIGHT_US, MIDNIGHT_US + HOUR_US)

    both = asked(stores, now, Against("release", release=1))
    second = asked(stores, now, Against("release", release=1), release=2)

    assert x_of(both).calls == 270
    assert x_of(both).reference_calls == 200
    assert (x_of(second).calls, x_of(second).reference_calls) == (150, 320)
    assert x_of(second).alarm


def test_no_calls_and_no_training_data_are_said(stores: Stores) -> None:
    now = Window(MIDNIGHT_US, MIDNIGHT_US + DAY_US)
    before = Against("window", Window(MIDNIGHT_US - DAY_US, MIDNIGHT_US))

    nothing = asked(stores, now, before)
    spread(stores, MIDNIGHT_US, 1, [1.0])
    new = asked(stores, now, before)
    untrained = asked(stores, now, Against("training"))

    assert nothing.columns == ()
    assert "no calls with a profile" in nothing.why
    assert (new.calls, new.reference_calls) == (1, 0)
    assert "no profile of the training data" in untrained.why


@pytest.mark.parametrize(
    ("hours", "kept_since", "pieces"),
    [
        ((0, 24), 0, [(DAY_S, 0, 24)]),
        ((5, 53), 0, [(HOUR_S, 5, 24), (DAY_S, 24, 48), (HOUR_S, 48, 53)]),
        ((5, 9), 0, [(HOUR_S, 5, 9)]),
        ((5, 53), 30, [(DAY_S, 0, 48), (HOUR_S, 48, 53)]),
        ((5, 53), 100, [(DAY_S, 0, 72)]),
        ((7, 7), 0, []),
    ],
)
def test_days_are_read_where_there_are_whole_ones_or_no_hours_any_more(
    hours: tuple[int, int], kept_since: int, pieces: list[tuple[int, int, int]]
) -> None:
    begin = MIDNIGHT_US // 1_000_000
    window = Window(*(MIDNIGHT_US + hour * HOUR_US for hour in hours))

    found = pieces_of(window, begin + kept_since * HOUR_S)

    assert list(found) == [
        Piece(span, begin + first * HOUR_S, begin + last * HOUR_S) for span, first, last in pieces
    ]


def manifest(**fields: Any) -> Manifest:
    made: dict[str, Any] = {
        "integration": "screening", "entry": "m:C", "bundle": "", "purpose": "", "risk": "limited",
        "deadline_s": 1.0, "routes": (), "request_schema": {}, "reply_schema": {},
    }  # fmt: skip
    return Manifest(**(made | fields))


def test_training_data_is_profiled_where_it_is_and_found_where_it_is_not(tmp_path: Path) -> None:
    import hashlib

    (tmp_path / "splice.toml").write_text('[project]\nmodules = ["none"]\n')
    file = tmp_path / "train.csv"
    draw = random.Random(1)
    with file.open("w", newline="") as text:
        rows = csv.writer(text)
        rows.writerow(["x", "zip", "vip", "label"])
        rows.writerows(
            [draw.gauss(0, 1), f"0{draw.randint(1000, 1003)}", "true", 1] for _ in range(500)
        )
    data = hashlib.sha256(file.read_bytes()).hexdigest()
    schema = {"properties": {"x": {"type": "number"}, "zip": {"type": "string"}}}
    gates = PinnedGates("g", "train.csv", data, 500)
    release = Release(1, manifest(gates=(gates,), request_schema=schema), 0, "me")

    made = training_of(load(tmp_path))(release)
    file.unlink()
    kept = training_of(load(tmp_path))(release)

    assert made is not None
    assert kept == made
    assert made["x"].numbers is not None
    assert made["zip"].words is not None  # its type says that it is a text
    assert made["vip"].truths is not None
    other = msgspec.structs.replace(release, manifest=manifest())
    assert training_of(load(tmp_path))(other) is None


def test_calls_are_compared_with_the_training_data_by_the_columns_that_both_have(
    stores: Stores,
) -> None:
    spread(stores, MIDNIGHT_US, 1, normal(300, 2))
    training = profiled([{"x": value, "label": 1} for value in normal(500)])
    question = DriftQuestion(
        "screening", Window(MIDNIGHT_US, MIDNIGHT_US + DAY_US), Against("training")
    )

    report = drift_of(stores.rollups, question, training={
        name: one for name, one in training.items() if name != "*"
    })  # fmt: skip

    assert [one.column for one in report.alarms] == ["x"]
    assert {one.column for one in report.columns} == {"x", "label"}


def test_a_plan_knows_the_words_that_the_types_declare() -> None:
    schema = {
        "$ref": "#/$defs/Order",
        "$defs": {
            "Order": {"properties": {
                "kind": {"enum": ["new", "old"]},
                "maybe": {"anyOf": [{"const": "one"}, {"type": "null"}]},
                "card": {"$ref": "#/$defs/Card"},
                "free": {"type": "string"},
            }},
            "Card": {"properties": {"brand": {"enum": ["visa"]}, "of": {"$ref": "#/$defs/Order"}}},
        },
    }  # fmt: skip
    reply = {"properties": {"action": {"enum": ["ship"]}}}

    plan = plan_of(manifest(request_schema=schema, reply_schema=reply))

    assert plan.words["kind"] == ("new", "old")
    assert plan.words["maybe"] == ("one",)
    assert plan.words["card.brand"] == ("visa",)
    assert plan.words["reply.action"] == ("ship",)
    assert "free" not in plan.words


@pytest.mark.parametrize(
    ("given", "got"),
    [
        (splice.Profile(segments=("a", "b", "c", "d")), "4 segments"),
        (splice.Profile(segments=("customer",)), "the entity"),
        (splice.Profile(skip="note"), "skip='note'"),
        (splice.Profile(columns=("a=b",)), "columns="),
        ("all", "str"),
    ],
)
def test_mistakes_in_a_profile_are_named(given: Any, got: str) -> None:
    wrong: list[tuple[str, ...]] = []

    read_profile(given, "customer", lambda *mistake: wrong.append(mistake))

    assert len(wrong) == 1
    assert got in wrong[0][1]


def rows(folder: Path, name: str, mean: float) -> None:
    with (folder / name).open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["amount", "country"])
        out.writerows([value, "NL"] for value in normal(200, mean))


def test_two_files_of_rows_are_compared_without_a_ledger(command: Any) -> None:
    for name, mean in (("now.csv", 2), ("before.csv", 0)):
        rows(command.folder, name, mean)

    now, before = command.folder / "now.csv", command.folder / "before.csv"
    ran = command("drift", "--rows", str(now), "--reference", str(before))
    told = command("drift", "--rows", str(now), "--reference", str(before), "--json").json

    assert ran.code == 0
    assert "amount  drifted  PSI" in " ".join(ran.out.split()).replace(
        "amount drifted", "amount  drifted "
    )
    assert "1 drifted, of 2 columns" in ran.err
    assert [one["column"] for one in told["columns"] if one["alarm"]] == ["amount"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("drift",), "an integration, or --rows and --reference"),
        (("drift", "--rows", "now.csv"), "two: --rows and --reference"),
        (("drift", "--rows", "now.txt", "--reference", "now.csv"), "ending in .txt"),
        (("drift", "--rows", "gone.csv", "--reference", "now.csv"), "gone.csv"),
        (("drift", "--rows", "ragged.csv", "--reference", "now.csv"), "ragged.csv"),
    ],
)
def test_what_cannot_be_compared_is_said(
    command: Any, arguments: tuple[str, ...], said: str
) -> None:
    rows(command.folder, "now.csv", 0)
    (command.folder / "ragged.csv").write_text("a,b\n1\n2,3,4\n")
    given = [
        str(command.folder / one) if one.endswith((".csv", ".txt")) else one for one in arguments
    ]

    ran = command(*given)

    assert ran.code == 2
    assert said in ran.err


def test_the_command_asks_the_ledger_and_answers_where_no_server_runs(
    command: Any, applied: Any
) -> None:
    applied()
    with (command.folder / "orders.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["customer", "amount_eur"])
        out.writerows([f"customer-{number % 3}", number % 7] for number in range(60))
    orders = str(command.folder / "orders.csv")
    assert command("batch", "order-screening", orders, "--out", f"{orders}.out.csv").code == 0
    applied("0.9 if=>0.8 if")
    dearer = (command.folder / "orders.csv").read_text().replace(",6", ",900")
    (command.folder / "dearer.csv").write_text(dearer)
    more = str(command.folder / "dearer.csv")
    assert command("batch", "order-screening", more, "--out", f"{more}.out.csv").code == 0

    ran = command("drift", "order-screening", "--against", "1", "--all")

    assert ran.code == 0
    assert "60 calls, against release 1 (60)" in ran.err
    assert "amount_eur" in ran.out
    assert "customer-" not in ran.out
    told = command("drift", "order-screening", "--against", "1", "--json").json
    assert {one["column"] for one in told["columns"]} >= {"amount_eur", "reply.action"}
    assert json.dumps(told)
    assert command("drift", "gone").code == 2
    assert command("drift", "order-screening", "--against", "9").code == 2
