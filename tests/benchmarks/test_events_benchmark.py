"""The benchmark of events counts what was really answered, and its checks bite."""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path[:0] = [str(BENCHMARKS), str(BENCHMARKS / "events")]

import payments  # noqa: E402

import table  # noqa: E402
from events import soak  # noqa: E402
from events.cluster import Arrived, Cluster  # noqa: E402
from events.job import LOADS, SUBJECTS, events_of, name_of, planned  # noqa: E402
from events.project import DECLARATION  # noqa: E402
from events.running import Run, Sample, Watch, run_embedded, run_on_kafka  # noqa: E402
from events.stream import BYTES, check, source_events  # noqa: E402
from events.subjects import LOADS as EVERY_LOAD  # noqa: E402
from events.subjects import PROMISES  # noqa: E402
from events.subjects import SUBJECTS as EVERY_SUBJECT  # noqa: E402
from serve.job import Asked, WrongAnswerError  # noqa: E402

ROWS = 8
EVENTS = 400


@pytest.fixture(scope="module")
def asked() -> Asked:
    """Rows, and what the model of `model` says of each."""
    rows = np.round(np.random.default_rng(1).normal(size=(ROWS, payments.FEATURES)), 4)
    logits = rows.astype(np.float32)[:, 0].astype(float)
    return Asked(rows.tolist(), (1 / (1 + np.exp(-2 * logits))).tolist())


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of thirty features that looks at the first alone."""
    import onnx

    weights = ", ".join("-1.0, 1.0" if row == 0 else "0.0, 0.0" for row in range(30))
    made = onnx.parser.parse_model(f"""
        <ir_version: 8, opset_import: ["": 17]>
        two (float[N,30] features) => (int64[N] label, float[N,2] probabilities)
        <float[30,2] weights = {{{weights}}}> {{
            logits = MatMul(features, weights)
            probabilities = Softmax<axis = 1>(logits)
            label = ArgMax<axis = 1, keepdims = 0>(logits)
        }}
    """)
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    path.write_bytes(made.SerializeToString())
    return path


def test_each_event_is_1_kb_of_its_own_and_what_the_peers_declare(asked: Asked) -> None:
    events = list(source_events(asked, 3 * ROWS))

    assert len({key for key, _ in events}) == len({value for _, value in events}) == 3 * ROWS
    assert {len(value) for _, value in events} == {BYTES}
    read = [payments.decode(value) for _, value in events]
    assert [one.id.encode() for one in read] == [key for key, _ in events]
    assert [one.features for one in read] == [list(row) for row in asked.rows] * 3


def test_splice_and_its_peers_declare_the_same_types(tmp_path: Path) -> None:
    (tmp_path / "declared.py").write_text(DECLARATION)

    declared = runpy.run_path(str(tmp_path / "declared.py"))

    for ours, theirs in (("Payment", payments.Payment), ("Decision", payments.Screening)):
        assert fields(declared[ours]) == fields(theirs)


def fields(kind: type) -> list[tuple[str, Any]]:
    """The names of a type's fields, and what each is."""
    return [
        (one.name, fields(one.type) if hasattr(one.type, "__struct_fields__") else one.type)
        for one in msgspec.structs.fields(kind)
    ]


def decided(asked: Asked, numbers: Sequence[int], gap: float = 0.0) -> list[bytes]:
    """The right decisions about those events, but for a gap."""
    return [
        json.dumps(
            {
                "id": f"pay-{number:010d}",
                "probability": asked.probabilities[number % ROWS] + gap,
                "action": "review",
            }
        ).encode()
        for number in numbers
    ]


def test_one_right_decision_an_event_is_accepted_in_any_order(asked: Asked) -> None:
    check(decided(asked, [*range(10, 20), *range(10)]), asked, 20)


@pytest.mark.parametrize(
    ("numbers", "gap", "said"),
    [
        ([*range(19)], 0.0, "1 are missing, 0 doubled"),
        ([*range(20), 3], 0.0, "0 are missing, 1 doubled"),
        ([*range(19), 3], 0.0, "1 are missing, 1 doubled"),
        ([*range(20)], 0.001, "the model says"),
    ],
)
def test_a_missing_a_doubled_and_a_wrong_decision_void_the_run(
    asked: Asked, numbers: list[int], gap: float, said: str
) -> None:
    with pytest.raises(WrongAnswerError, match=said):
        check(decided(asked, numbers, gap), asked, 20)


def a_run(load: str, asked: Asked, model: Path, place: Path) -> Run:
    """A short run of Splice; it fails unless each event has one decision and one recorded call."""
    ours = EVERY_SUBJECT["splice"]
    return Run(ours, "exactly-once", EVERY_LOAD[load], EVENTS, asked, model, place)


@pytest.mark.kafka
def test_splice_answers_each_event_of_several_partitions_once(
    kafka: str, asked: Asked, model: Path, tmp_path: Path
) -> None:
    cluster = Cluster(kafka)
    source = cluster.topic(partitions=4)
    cluster.fill(source, 4, source_events(asked, EVENTS))

    found = run_on_kafka(a_run("kafka-4", asked, model, tmp_path), cluster, source, tmp_path)

    cluster.delete(source)
    assert {"events_per_s", "cpu_us", "memory_mb"} <= set(found)


@pytest.mark.parametrize("load", ["embedded", "embedded-2-workers"])
def test_splice_answers_each_event_of_its_own_queue_once(
    load: str, asked: Asked, model: Path, tmp_path: Path
) -> None:
    found = run_embedded(a_run(load, asked, model, tmp_path))

    assert found["memory_mb"] > 0


def test_the_rate_is_that_of_what_was_written_after_the_warm_up() -> None:
    slow_start = [0] * 50 + [5000] * 50
    steady = [5000 + 100 * batch for batch in range(1, 10) for _ in range(100)]

    arrived = Arrived([b""] * 1000, slow_start + steady)

    assert arrived.events_per_s(0.1) == pytest.approx(1000)


def test_what_a_subject_cost_is_counted_from_the_end_of_its_warm_up() -> None:
    watch = Watch(0)
    watch.samples = [
        Sample(0.0, 0, cpu_s=2.0, broker_cpu_s=1.0, memory=10_000_000),
        Sample(1.0, 10, cpu_s=3.0, broker_cpu_s=1.0, memory=90_000_000),
        Sample(2.0, 60, cpu_s=3.5, broker_cpu_s=1.1, memory=50_000_000),
        Sample(3.0, 110, cpu_s=4.0, broker_cpu_s=1.2, memory=50_000_000),
    ]

    assert watch.figures(100) == pytest.approx(
        {"cpu_us": 10_000, "core_share": 0.5, "broker_share": 0.1, "memory_mb": 90}
    )


def test_every_subject_says_what_it_is_and_what_it_promises() -> None:
    plan = planned(SUBJECTS, LOADS, 1000, 1, every_variant=False)

    assert [name_of(*pair) for pair in plan.subjects] == list(SUBJECTS)
    ways = [way for one in EVERY_SUBJECT.values() for way in one.variants.values()]
    assert all(way.configuration and way.promise in PROMISES for way in ways)
    embedded = [name_of(one, v) for one, v, load in plan.runs() if not load.partitions]
    assert embedded == ["splice"] * 2


def test_a_subject_or_a_load_that_is_not_there_is_named() -> None:
    with pytest.raises(SystemExit, match=r"there is no quix:twice; .*quix:exactly-once"):
        planned(["quix:twice"], LOADS, 1000, 1, every_variant=False)
    with pytest.raises(SystemExit, match="there is no load rabbit; there are kafka"):
        planned(["quix"], "rabbit", 1000, 1, every_variant=False)


def test_the_slow_get_fewer_events_and_the_others_all() -> None:
    got = {
        name: events_of(one, next(iter(one.variants)), 1000) for name, one in EVERY_SUBJECT.items()
    }

    assert got.pop("faststream single") < 1000
    assert set(got.values()) == {1000}


def kept_table() -> dict[tuple[str, int | str, str], float]:
    """Results in which every floor is kept."""
    rates = {"splice": 30_000.0, "quix": 29_000.0, "faststream single": 900.0}
    found = {(name, "kafka", "events_per_s"): rate for name, rate in rates.items()}
    return found | {("splice", "embedded", "events_per_s"): 15_000.0}


@pytest.mark.parametrize(
    ("row", "value", "broken"),
    [
        (("quix", "kafka", "events_per_s"), 30_100.0, "1.0 times the events of quix"),
        (("faststream single", "kafka", "events_per_s"), 3_100.0, "9.7 times the events of fast"),
        (("splice", "embedded", "events_per_s"), 14_999.0, "14,999 events/s from the embedded"),
    ],
)
def test_a_floor_that_is_not_kept_is_told(
    row: tuple[str, int | str, str], value: float, broken: str
) -> None:
    before = table.FLOORS["events"](kept_table())
    after = table.FLOORS["events"](kept_table() | {row: value})

    assert len(before) == 3
    assert all(before.values())
    assert next(told for told, holds in after.items() if not holds).startswith(broken)


def test_the_table_has_what_each_subject_promises() -> None:
    drawn = table.markdown(kept_table(), "events").splitlines()

    assert "| quix | 29,000 | 1.0 times |  | exactly once |" in drawn
    assert "| splice | 30,000 |  | 15,000 | exactly once, answered once, recorded |" in drawn


def test_a_soak_tells_whether_lag_and_memory_grow() -> None:
    plan = soak.Soak(EVERY_LOAD["kafka"], 1000, rate=100, every=100, place=Path())
    steady = [soak.Reading(n, n * 100, lag=50, memory_mb=80.0 + (n < 3)) for n in range(10)]
    growing = [soak.Reading(n, n * 100, lag=n * 10, memory_mb=80.0 + n) for n in range(10)]
    drained = soak.Reading(12, 1000, lag=0, memory_mb=80.0)

    kept, grew = (figures(plan, [*some, drained]) for some in (steady, growing))

    assert (kept["lag_slope"], kept["memory_slope"], kept["lag_max"]) == (0, 0, 50)
    assert grew["lag_slope"] == pytest.approx(10)
    assert grew["memory_slope"] == pytest.approx(1e6 / 100)
    assert kept["events_per_s"] == pytest.approx(1000 / 12, abs=0.01)


def figures(plan: soak.Soak, readings: list[soak.Reading]) -> dict[str, float]:
    """The figures of a soak by their names."""
    return {str(row["metric"]): float(str(row["value"])) for row in soak.rows_of(plan, readings)}
