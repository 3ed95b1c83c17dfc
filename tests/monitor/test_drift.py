"""Drift: planted shifts are flagged, all else is not, and what cannot be told is said."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from profiles_house import normal, one_column, profiled, record

from splice.core.profiles import ColumnDrift, Kind, PinnedProfile, Profile
from splice.core.units import plural
from splice.monitor.cells import paired
from splice.monitor.drift import Limits, compared, drift
from splice.monitor.profiles import Profiler, decode
from splice.monitor.shapes import Shape
from splice.monitor.tables import Values, profile_of

WORDS = list("abcdefgh")


def numbers(values: np.ndarray) -> Profile:
    kept = values[~np.isnan(values)]
    return profile_of(Values(len(values), len(values) - len(kept), kept))


def words(values: np.ndarray) -> Profile:
    counts = dict(
        zip(*(one.tolist() for one in np.unique(values, return_counts=True)), strict=True)
    )
    return profile_of(Values(len(values), words=counts))


def merchant(places: np.ndarray) -> Profile:
    return words(np.char.add("m", places.astype(int).astype(str)))


def holes(rng: np.random.Generator, size: int, share: float) -> np.ndarray:
    values = rng.normal(size=size)
    values[rng.random(size) < share] = np.nan
    return values


def drawn(rng: np.random.Generator, size: int, *, moved: bool) -> dict[str, Profile]:
    """Columns of known kinds of shift, before or after it."""
    lost = [1 / 7] * 7 + [0.0] if moved else [1 / 8] * 8
    fresh = [0.95 / 8] * 8 + [0.05] if moved else [1 / 8] * 8 + [0.0]
    rare = [0.999 / 8] * 8 + [0.001] if moved else [1 / 8] * 8 + [0.0]
    merchants = (rng.beta(1, 3, size) if moved else rng.random(size)) * 2000
    others = rng.random(size) * 2000
    return {
        "mean, half a deviation": numbers(rng.normal(0.5 * moved, 1, size)),
        "deviation, half as much again": numbers(rng.normal(0, 1 + 0.5 * moved, size)),
        "log-normal": numbers(rng.lognormal(1.2 * moved, 2, size)),
        "a category is gone": words(rng.choice(WORDS, size, p=lost)),
        "a category is new": words(rng.choice([*WORDS, "z"], size, p=fresh)),
        "missing": numbers(holes(rng, size, 0.2 if moved else 0.02)),
        "among 2,000 words": merchant(merchants),
        "unmoved numbers": numbers(rng.normal(size=size)),
        "unmoved log-normal": numbers(rng.lognormal(0, 2, size)),
        "unmoved counts": numbers(rng.poisson(3, size).astype(float)),
        "unmoved words": words(rng.choice(WORDS, size)),
        "unmoved among 2,000 words": merchant(others),
        "a category of one in a thousand is new": words(rng.choice([*WORDS, "z"], size, p=rare)),
        "mean, a hundredth of a deviation": numbers(rng.normal(0.01 * moved, 1, size)),
        "constant": numbers(np.full(size, 3.0)),
    }


def test_planted_shifts_are_flagged_and_no_other_column_is() -> None:
    rng = np.random.default_rng(1)

    found = drift(drawn(rng, 20_000, moved=True), drawn(rng, 50_000, moved=False))

    assert {one.column for one in found if one.alarm} == {
        "mean, half a deviation", "deviation, half as much again", "log-normal",
        "a category is gone", "a category is new", "missing", "among 2,000 words",
    }  # fmt: skip


def test_a_hundredth_of_a_deviation_is_significant_at_a_million_rows_and_no_alarm() -> None:
    rng = np.random.default_rng(2)
    now, before = paired(rng.normal(0.01, 1, 1_000_000), rng.normal(0, 1, 1_000_000))
    shapes = [{"x": Shape(1e6, 0, {Kind.NUMBER: 1e6}, one)} for one in (now, before)]

    (found,) = compared(*shapes)

    assert found.p is not None
    assert found.p < 1e-4
    assert not found.alarm


def test_unshifted_columns_make_no_alarm_however_few_calls_there_are() -> None:
    rng = np.random.default_rng(3)
    alarms = [
        one.column
        for _ in range(25)
        for size in (25, 60, 400)
        for one in drift(drawn(rng, size, moved=False), drawn(rng, 500, moved=False))
        if one.alarm
    ]

    assert len(alarms) <= 1  # of 1,125


def only(now: list[Any], before: list[Any]) -> ColumnDrift:
    (found,) = drift({"x": one_column(now)}, {"x": one_column(before)})
    return found


@pytest.mark.parametrize(
    ("now", "before", "alarm", "why"),
    [
        (["many"] * 100, normal(100), True, "was a number, is a word in 100 %"),
        (normal(100), ["DE"] * 100, True, "was a word, is a number in 100 %"),
        ([None] * 100, normal(100), True, "missing in 100 %, was 0 %"),
        (normal(100), [None] * 100, True, "missing in 0 %, was 100 %"),
        ([None] * 100, [None] * 100, False, "always missing"),
        ([7] * 100, [7] * 100, False, "always 7"),
        ([8] * 100, [7] * 100, True, "always 8, was 7"),
        ([7] * 100, normal(1000), True, "median 7"),
        ([True] * 90 + [False] * 10, [True, False] * 100, True, "'true' in 90 %"),
        ([[1] * 9] * 100, [[1]] * 100, True, "always 9, was 1"),
        ([1, 0] * 100, [True, False] * 100, False, "as it was"),
        (["a"] * 80 + ["b"] * 20, ["a"] * 100, True, "'b' is new, in 20 %"),
        (["a"] * 100, ["a"] * 80 + ["b"] * 20, True, "'b' is gone, was in 20 %"),
    ],
)
def test_a_column_says_what_has_become_of_it(
    now: list[Any], before: list[Any], alarm: bool, why: str
) -> None:
    found = only(now, before)

    assert why in found.why
    assert found.alarm is alarm


@pytest.mark.parametrize(("now", "before"), [(0, 100), (1, 100), (100, 1), (19, 100)])
def test_too_few_calls_say_nothing(now: int, before: int) -> None:
    here = {"x": one_column(normal(now, 9))} if now else {"x": Profile()}

    (found,) = drift(here, {"x": one_column(normal(before))})

    assert found.value is None
    assert not found.alarm
    assert plural(min(now, before), "call") in found.why


def test_a_field_that_callers_no_longer_send_is_missing() -> None:
    before = profiled([{"x": 1, "y": i} for i in range(100)])
    now = profiled([{"x": 1} for _ in range(90)] + [{"x": 1, "y": 3}] * 10, batch=45)

    found = {one.column: one for one in drift(now, before)}

    assert found["y"].alarm
    assert "missing in 90 %, was 0 %" in found["y"].why
    assert not found["x"].alarm


def test_a_column_that_the_reference_has_not_is_told_and_no_alarm() -> None:
    (found,) = drift({"x": one_column(normal(100))}, {})

    assert found.why == "the reference has no such column"
    assert not found.alarm


def test_words_that_may_not_be_named_are_told_without_their_name() -> None:
    found = only(["jane@doe.example"] * 50 + ["a"] * 50, ["a"] * 100)

    assert "jane" not in msgspec.json.encode(found).decode()
    assert "a word that is not named" in found.why
    assert found.alarm


def test_the_limit_is_whose_interval_lies_above_it() -> None:
    now, before = {"x": one_column(normal(400, 0.5))}, {"x": one_column(normal(400, seed=2))}

    (usual,) = drift(now, before)
    assert usual.low is not None
    assert usual.value is not None
    (low,) = drift(now, before, Limits(psi=usual.low, wasserstein=None))
    (between,) = drift(now, before, Limits(psi=(usual.low + usual.value) / 2, wasserstein=None))
    (other,) = drift(now, before, Limits(psi=None, wasserstein=None, ks=0.05))

    assert (low.alarm, between.alarm) == (True, False)
    assert (other.alarm, other.measure) == (True, "ks")


def test_a_distance_above_its_limit_is_no_alarm_where_chance_may_have_made_it() -> None:
    columns = [{"x": one_column(normal(300, seed=seed))} for seed in (1, 2)]

    (found,) = drift(*columns, Limits(psi=0.0))

    assert found.low == 0
    assert not found.alarm


def test_those_with_an_alarm_come_first_then_the_farthest() -> None:
    before = {name: one_column(normal(500, seed=9)) for name in "abc"}
    now = {
        "a": one_column(normal(500, 0.1)), "b": one_column(normal(500, 2)),
        "c": one_column(normal(500, 0.25)),
    }  # fmt: skip

    assert [one.column for one in drift(now, before)][:2] == ["b", "c"]


BILLING = "refund invoice charged twice card payment the bank money account please month my"
WEATHER = "rain storm window garden flooded roof wind night broken tree the water my cellar"
GERMAN = "die rechnung wurde doppelt abgebucht bitte um erstattung auf mein konto der monat"


def notes(vocabulary: str, count: int, seed: int) -> list[str]:
    draw, words = random.Random(seed), vocabulary.split()
    return [" ".join(draw.choices(words, k=draw.randint(10, 30))) for _ in range(count)]


@pytest.mark.parametrize("became", [WEATHER, GERMAN])
def test_texts_about_something_else_or_in_another_language_drift(became: str) -> None:
    before = profiled([{"note": one} for one in notes(BILLING, 300, 1)])
    same = profiled([{"note": one} for one in notes(BILLING, 200, 2)])
    other = profiled([{"note": one} for one in notes(became, 200, 3)])

    unmoved = {one.column: one for one in drift(same, before)}
    moved = {one.column: one for one in drift(other, before)}

    assert not any(one.alarm for one in unmoved.values())
    assert moved["note"].alarm
    assert moved["note"].measure == "text"


def test_texts_that_nobody_can_read_are_seen_by_their_characters() -> None:
    clean = notes(BILLING, 200, 1)
    broken = [one.replace("e", "\ufffd") for one in notes(BILLING, 200, 2)]

    found = drift(*(profiled([{"note": one} for one in texts]) for texts in (broken, clean)))

    assert next(one for one in found if one.column == "note#unknown").alarm


def test_meaning_is_compared_where_an_encoder_reads_the_texts() -> None:
    plan = PinnedProfile(meaning=("note",))

    def encode(texts: Sequence[str]) -> list[list[float]]:
        return [[float("rain" in text), len(text) / 100, 1.0] for text in texts]

    def made(texts: list[str]) -> dict[str, Profile]:
        profiler = Profiler(lambda integration, release: plan, encode)
        found = profiler.add([record(i, {"note": text}) for i, text in enumerate(texts)])
        return {key.column: decode(body) for (_, key), body in found.items()}

    found = drift(made(notes(WEATHER, 64, 1)), made(notes(BILLING, 64, 2)))

    note = next(one for one in found if one.column == "note")
    vector = note.measured("vector")
    assert vector is not None
    assert vector.low > 0
