"""What an answer rests on: worked out in bounded time, and said plainly where it cannot be."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from reviews_house import MODEL, SOURCE, until, write_model

import splice
from splice.app.explaining import Explaining, cannot
from splice.app.overseeing import Explanations, declared_by
from splice.app.settings import load
from splice.app.wiring import Stores
from splice.core.call import Reason, Record, Status
from splice.core.explanations import Attributions, route_of
from splice.core.ids import uuid7
from splice.core.release import Release
from splice.monitor.similar import nearest
from splice.ports.stores import CallFilter

needs_shap = pytest.mark.skipif(
    importlib.util.find_spec("shap") is None, reason="shap is not installed"
)
TALK = '''

class Question(splice.Request):
    text: str


class Answer(splice.Reply):
    kind: str


class Sort(splice.Integration):
    """Sort questions."""

    routes = [splice.LLM("acme/small", prompt="sort.md"), splice.Rule(lambda c: {"kind": "none"})]

    def decide(self, question: Question, prediction: splice.Prediction) -> Answer:
        return prediction.value
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Claims by a model, of which 30 were asked."""
    made = tmp_path_factory.mktemp("explained") / "p"
    made.mkdir()
    (made / "splice.toml").write_text("[ledger]\nflush_interval_ms = 1\n", "utf-8")
    source = SOURCE.replace("ROUTE", MODEL).replace("MORE", "")
    (made / "integrations.py").write_text(source, "utf-8")
    write_model(made / "models" / "claims.onnx")

    async def ask() -> None:
        async with splice.App(project=made, apply="new") as app:
            for n in range(30):
                claim = {"customer": f"c-{n % 3}", "amount": 30.0 * n, "age": 20.0 + n}
                await app.call("claims", claim)

    asyncio.run(ask())
    return made


@pytest.fixture
def stores(folder: Path) -> Iterator[Stores]:
    made = Stores(load(folder))
    yield made
    made.close()


def newest(stores: Stores) -> tuple[Record, Release]:
    (found,) = stores.records.find(CallFilter(integration="claims", limit=1))
    record, release = stores.records.get(found.call_id), stores.releases.release("claims", 1)
    assert record is not None
    assert release is not None
    return record, release


def why(found: Attributions | None) -> str:
    assert found is not None
    return found.why


@needs_shap
def test_who_takes_too_long_is_ended_and_who_is_killed_says_so(stores: Stores) -> None:
    record, release = newest(stores)
    hasty = Explaining(stores.models, stores.records, longest_s=0.01)
    patient = Explaining(stores.models, stores.records, longest_s=600)
    try:
        assert "took longer than 0.01 s" in why(hasty.attributions(record, release, 60))
        assert hasty._child is None
        assert patient.attributions(record, release) is None  # at once: it is being worked out
        child = until(lambda: patient._child)
        os.kill(child.pid, signal.SIGKILL)  # as where memory is short

        assert "ended" in why(patient.attributions(record, release, 60))
    finally:
        hasty.close()
        patient.close()


def test_where_it_cannot_be_told_it_is_said_why(stores: Stores) -> None:
    record, release = newest(stores)

    def of(**changes: Any) -> str:
        return cannot(msgspec.structs.replace(record, **changes), release)

    assert of() == ""
    assert "no answer" in of(status=Status.FAILED, reason=Reason.EXHAUSTED)
    assert "does not name what answered (claims@9)" in of(version="claims@9")
    assert "not recorded" in of(input=b"")
    assert "does not name" in cannot(record, None)
    remote = msgspec.structs.replace(route_of(release, record.version), format="remote")
    there = msgspec.structs.replace(
        release, manifest=msgspec.structs.replace(release.manifest, routes=(remote,))
    )
    assert "a server of its own" in cannot(record, there)


def test_too_few_others_are_no_background(stores: Stores) -> None:
    record, release = newest(stores)
    alone = Explaining(stores.models, _Only(record))  # type: ignore[arg-type]
    try:
        assert "only 0 other calls" in why(alone.attributions(record, release, 60))
    finally:
        alone.close()


class _Only:
    """A ledger with one call."""

    def __init__(self, record: Record) -> None:
        self._record = record

    def find(self, wanted: CallFilter) -> list[Record]:
        return [self._record]

    def get_many(self, ids: list[str]) -> dict[str, Record]:
        return {self._record.call_id: self._record}


def test_the_nearest_calls_come_first_with_what_became_of_them(
    folder: Path, stores: Stores
) -> None:
    record, _ = newest(stores)
    explains = Explanations(load(folder), stores, declared_by(stores))

    similar = explains.similar(record)
    history = explains.history(record)
    explains.close()

    asked = [msgspec.json.decode(one.record.input)["amount"] for one in similar]
    assert asked == [840.0, 810.0, 780.0, 750.0, 720.0]
    assert [one.distance for one in similar] == sorted(one.distance for one in similar)
    assert {one.record.entity for one in history} == {record.entity}
    assert record.call_id not in [one.record.call_id for one in [*similar, *history]]


def test_words_numbers_and_what_is_missing_count_alike() -> None:
    def call(n: int, **fields: Any) -> Record:
        body = msgspec.json.encode(fields)
        return Record(uuid7(n, n), "x", 1, n, 1, Status.ANSWERED, Reason.FIRST, "http", input=body)

    mine = call(0, color="red", size=1.0, text="the very same words of a long enough text, again")
    same = call(1, color="red", size=1.0, text="the very same words of a long enough text, again")
    word = call(2, color="blue", size=1.0, text="the very same words of a long enough text, again")
    less = call(3, color="blue", size=9.0)
    lost = call(4)

    found = nearest(mine, [lost, less, word, same], 9)

    assert [one.call_id for one, _ in found] == [same.call_id, word.call_id, less.call_id]
    assert [round(far, 3) for _, far in found][:2] == [0.0, 0.333]


def test_what_a_language_model_was_told_is_its_prompt_filled_from_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACME_KEY", "no-secret")
    (tmp_path / "splice.toml").write_text(
        '[providers.acme]\nbase_url = "http://127.0.0.1:9/v1"\napi_key_env = "ACME_KEY"\n', "utf-8"
    )
    (tmp_path / "integrations.py").write_text("import splice\n" + TALK, "utf-8")
    (tmp_path / "sort.md").write_text("Sort this:\n\n{{ text }}\n", "utf-8")

    async def apply() -> None:
        async with splice.App(project=tmp_path, apply="new"):
            pass

    asyncio.run(apply())
    settings = load(tmp_path)
    stores = Stores(settings)
    release = stores.releases.release("sort", 1)
    assert release is not None
    record = Record(
        uuid7(1, 1), "sort", 1, 1, 1, Status.ANSWERED, Reason.FIRST, "http", route="llm:acme/small",
        version=release.manifest.routes[0].version, input=b'{"text": "where is <b>it</b>?"}',
    )  # fmt: skip
    explains = Explanations(settings, stores, declared_by(stores))

    told = explains.told(record)
    rests = explains.attributions(record)
    explains.close()
    stores.close()

    assert told is not None
    assert told.why == ""
    assert told.messages[-1][1].strip().endswith("where is <b>it</b>?")
    assert told.prompt.startswith("sort") or told.prompt
    assert "a language model answered" in why(rests)
