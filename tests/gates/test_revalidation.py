"""What answers is validated again on fresh calls; what has ended is told of, demoted or refused."""

from __future__ import annotations

import asyncio
import math
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from gates_house import FIELDS, Bank, good, integration, other, rows

import splice
from splice.app import alerting, permitting, validity, watch
from splice.app.clock import now_us
from splice.app.validity import chores_of_validity, declarations_of, revalidate, revalidator_of
from splice.app.wiring import modules_of
from splice.control.fresh import TooFew
from splice.control.permits import Permits
from splice.control.revalidate import Due
from splice.control.validate import Validator
from splice.core.alerts import Alert
from splice.core.call import Outcome, Reason, Record, Status
from splice.core.errors import StoreError
from splice.core.ids import uuid7
from splice.core.release import Release
from splice.core.validation import (
    Approval,
    GateResult,
    NotValidated,
    Permit,
    PinnedValidity,
    Validation,
)
from splice.declare.discover import find
from splice.ports.alerts import AlertFilter
from splice.ports.stores import CallFilter

AUC = 'splice.AtLeast("auc", 0.7)'
DAY_US = 86_400 * 1_000_000
TRUTH = 'truth = splice.Truth("defaulted", predicted="action", foretold="decline", matures="1 d")'
FRESH = 'fresh=splice.Fresh(every="30 days", window="60 days", least=50)'
TERMS = f'valid_for="90 days", {FRESH}'


def declared(*must: str, more: str = TERMS, risk: str = "LIMITED") -> str:
    text = integration(*(must or (AUC,)), more=more, risk=risk)
    return text.replace("    gates = splice.Gates(", f"    {TRUTH}\n    gates = splice.Gates(")


class Branch(Bank):
    """A bank that has recorded calls whose truth came."""

    def ask(self, at_us: int, *, turned: bool = False, most: int = 300) -> None:
        """The held-out applications as calls of a day, and what became of them.

        Where it is `turned`, the opposite became of them: the model is of no use any more.
        """
        held_out = rows().held_out[:most]
        records: list[Record] = []
        outcomes: list[Outcome] = []
        for number, (one, values) in enumerate(zip(held_out, rows().matrix(held_out), strict=True)):
            asked_us = at_us + number * 1000
            call_id = uuid7(asked_us // 1000, number)
            body = dict(zip(FIELDS, (float(v) for v in values), strict=True))
            records.append(
                Record(
                    call_id, "credit-decision", 1, asked_us, 100, Status.ANSWERED, Reason.FIRST,
                    "test", entity=one.applicant, route="model:credit", version="credit@1",
                    input=msgspec.json.encode({"applicant": one.applicant, **body}),
                    prediction=b'{"score": 0.5}', reply=b'{"chance": 0.5, "action": "approve"}',
                )
            )  # fmt: skip
            outcomes.append(
                Outcome(
                    "credit-decision", "defaulted", bool(one.defaulted) != turned,
                    asked_us + 1000, call_id=call_id,
                )
            )  # fmt: skip
        self.stores.records.append(records)
        self.stores.outcomes.append_outcomes(outcomes, at_us)

    @property
    def due(self) -> Due:
        (one,) = revalidator_of(self.settings, self.stores).due()
        return one

    def revalidate(self) -> str:
        return revalidate(self.settings, self.stores, self.due, "splice revalidation")[0]

    @property
    def newest(self) -> Validation:
        return self.stores.validations.validations("credit", 1)[0]

    @property
    def release(self) -> Release:
        (live,) = self.stores.releases.live()
        found = self.stores.releases.release("credit-decision", live.number)
        assert found is not None
        return found

    def permit(self, now_us: int) -> Permit:
        """Whether what is live may run."""
        release = self.release
        manifest = release.manifest
        declaration = declarations_of(self.stores)(manifest.bundle, manifest.entry)
        permits = Permits(self.stores.validations, self.stores.audit, lambda: now_us)
        return permits(manifest.routes[0], release, declaration)

    def look(self, now_us: int) -> list[Alert]:
        """The alerts that are open after monitors were looked at."""
        alerting.rounds_of(self.settings, self.stores).look(now_us)
        return self.stores.alerts.alerts(AlertFilter(state="open"))


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Branch]]:
    """Makes a project where credit@1, a good model of ada's, is the champion and live."""
    made: list[Branch] = []
    monkeypatch.setattr(validity, "now_us", lambda: made[-1].now_us)

    def branch(*must: str, live: bool = True, **said: str) -> Branch:
        one = Branch(tmp_path / f"{len(made)}", declared(*must, **said))
        one.add(good(), alias="champion")
        made.append(one)
        if live and said.get("risk") == "HIGH":
            one.approve_first()
            one.apply(by="carol")
        elif live:
            one.apply()
        return one

    yield branch
    for one in made:
        one.close()


def test_what_is_declared_is_pinned_and_shown_as_a_change(make: Callable[..., Branch]) -> None:
    bank = make(more="")
    assert bank.release.manifest.gates[0].validity is None

    bank.declare(declared(more=f'{TERMS}, expired="refuse"'))
    release = bank.apply()

    assert release.manifest.gates[0].validity == PinnedValidity(
        90 * 86_400.0, "refuse", 30 * 86_400.0, 60 * 86_400.0, 50, 5000, "defaulted",
        failed_ends=False,
    )  # fmt: skip
    assert [one.name for one in release.manifest.monitors] == [
        "validation ends soon", "validation ended", "validation failed",
    ]  # fmt: skip


def test_a_validation_on_fresh_calls_names_its_window_and_makes_it_hold_for_longer(
    make: Callable[..., Branch],
) -> None:
    bank = make(more=f'{TERMS}, expired="demote"')
    first = bank.newest
    bank.ask(bank.now_us + 40 * DAY_US)
    bank.now_us += 50 * DAY_US

    said = bank.revalidate()

    again = bank.newest
    assert said.startswith("credit@1 passed for credit-decision on calls 2026-12-1")
    assert (again.fresh, again.rows, again.passed) == (True, 300, True)
    assert again.data_sha256 != first.data_sha256
    assert len(again.data_sha256) == 64
    assert again.since_us < again.until_us <= bank.now_us - DAY_US
    assert again.expires_us == bank.now_us + 90 * DAY_US
    assert bank.permit(first.expires_us + 1).why == ""
    assert bank.permit(first.expires_us + 1).until_us == again.expires_us
    (event,) = (e for e in bank.stores.audit.events() if e.action == "model.revalidate")
    assert event.details["validation"] == again.digest
    assert event.by == "splice revalidation"


def test_the_same_calls_give_the_same_digest_and_another_outcome_another(
    make: Callable[..., Branch],
) -> None:
    bank = make()
    bank.ask(bank.now_us)
    bank.now_us += 10 * DAY_US
    bank.revalidate()
    first = bank.newest.data_sha256
    bank.now_us += 1_000_000
    bank.revalidate()
    assert bank.newest.data_sha256 == first

    call_id = bank.stores.records.find(CallFilter(limit=1))[0].call_id
    (before,) = bank.stores.labels.labels([call_id])
    later = Outcome(
        "credit-decision", "defaulted", not before.value, bank.now_us - DAY_US, call_id=call_id
    )
    bank.stores.outcomes.append_outcomes([later], bank.now_us)
    bank.now_us += 1_000_000
    bank.revalidate()
    assert bank.newest.data_sha256 != first


def test_calls_whose_outcome_is_not_due_yet_do_not_count(make: Callable[..., Branch]) -> None:
    bank = make()
    bank.ask(bank.now_us)
    bank.now_us += DAY_US // 2

    said = bank.revalidate()

    assert "is not validated again for credit-decision: 0 of 0 answered calls" in said
    assert not bank.newest.fresh


def test_too_few_rows_store_nothing_and_say_how_many_there_are(
    make: Callable[..., Branch],
) -> None:
    bank = make()
    bank.ask(bank.now_us, most=49)
    bank.now_us += 2 * DAY_US

    found = revalidator_of(bank.settings, bank.stores).run(
        bank.due, bank.stores, bank.now_us, "ada"
    )

    assert isinstance(found, TooFew)
    assert "49 of 49" in bank.revalidate()
    assert len(bank.stores.validations.validations("credit", 1)) == 1


@pytest.mark.parametrize("failed", ["alert", "expire"])
def test_fresh_calls_that_it_does_not_pass_are_told_of_and_end_it_where_declared(
    make: Callable[..., Branch], failed: str
) -> None:
    fresh = f'fresh=splice.Fresh(every="30 days", failed="{failed}")'
    bank = make(more=f'valid_for="90 days", {fresh}', risk="HIGH")
    bank.ask(bank.now_us, turned=True)
    bank.now_us += 30 * DAY_US

    said = bank.revalidate()

    assert said.startswith("credit@1 failed AtLeast auc for credit-decision on calls ")
    alerts = {one.monitor: one for one in bank.look(bank.now_us)}
    assert alerts["validation failed"].severity == "critical"
    assert "credit@1: " in alerts["validation failed"].why
    assert "AtLeast auc" in alerts["validation failed"].why
    assert ("validation ended" in alerts) == (failed == "expire")
    why = bank.permit(bank.now_us).why
    assert ("credit@1 failed for credit-decision on calls" in why) == (failed == "expire")
    # Its first end stands: a failed one makes nothing hold for longer.
    assert "expired" in bank.permit(bank.now_us + 61 * DAY_US).why or failed == "expire"


def test_the_end_is_told_of_before_it_comes_and_when_it_has_come(
    make: Callable[..., Branch],
) -> None:
    bank = make(more='valid_for="90 days"')
    start = bank.newest.at_us

    assert bank.look(start + 75 * DAY_US) == []
    (soon,) = bank.look(start + 77 * DAY_US)
    ended = bank.look(start + 91 * DAY_US)

    assert (soon.monitor, soon.severity) == ("validation ends soon", "warning")
    assert "13 days" in soon.why
    assert {one.monitor for one in ended} == {"validation ends soon", "validation ended"}
    assert next(one for one in ended if one.monitor == "validation ended").severity == "critical"

    bank.now_us = start + 92 * DAY_US
    bank.validate(bank.promoter.version("credit@1"))
    assert bank.look(bank.now_us) == []


def test_gates_that_do_not_depend_on_the_rows_are_not_asked_again(
    make: Callable[..., Branch],
) -> None:
    bank = make(AUC, 'splice.Latency(p99="5 s", rows=20)', 'splice.Size("1 MB")')
    bank.ask(bank.now_us)
    bank.now_us += 5 * DAY_US

    bank.revalidate()

    assert [one.gate for one in bank.newest.results] == ["Answers", "AtLeast auc"]


def test_what_somebody_consented_to_is_renewed_without_a_new_consent(
    make: Callable[..., Branch],
) -> None:
    bank = make(risk="HIGH")
    first = bank.newest
    bank.ask(bank.now_us)
    bank.now_us += 30 * DAY_US
    bank.revalidate()

    assert bank.permit(first.expires_us + 1).why == ""


def test_a_validation_on_fresh_calls_alone_lets_nothing_in(make: Callable[..., Branch]) -> None:
    bank = make(risk="HIGH")
    bank.ask(bank.now_us)
    bank.now_us += 30 * DAY_US
    bank.revalidate()
    with ledger(bank) as database:  # whoever can write there takes the first one away
        for (name,) in database.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        ).fetchall():
            database.execute(f"DROP TRIGGER {name}")
        database.execute("DELETE FROM validations WHERE body NOT LIKE '%until_us%'")

    assert "credit@1 passed no validation" in bank.permit(bank.now_us).why


def test_the_audit_log_names_the_digest_of_what_the_ledger_gives_back(
    make: Callable[..., Branch], monkeypatch: pytest.MonkeyPatch
) -> None:
    bank = make()
    found = GateResult("AtLeast auc", passed=True, measured=0.8, low=math.nan, high=math.nan)
    monkeypatch.setattr(Validator, "_run", lambda *_: (found,))

    bank.validate(bank.promoter.version("credit@1"))

    told = [one for one in bank.stores.audit.events() if one.action == "model.validate"]
    assert told[-1].details["validation"] == bank.newest.digest


def ledger(bank: Bank) -> Any:
    (file,) = bank.folder.rglob("*.db")
    database = sqlite3.connect(file, isolation_level=None)
    return closing(database)


@pytest.mark.parametrize("which", ["validation", "consent"])
def test_what_the_audit_log_does_not_know_does_not_count(
    make: Callable[..., Branch], which: str
) -> None:
    bank = make(risk="HIGH", live=False)
    version = bank.add(other())
    bank.approve_first()
    bank.apply(by="carol")
    real = bank.validate(version)
    forged = msgspec.structs.replace(real, at_us=real.at_us + 1)
    if which == "consent":
        forged = real
    else:
        bank.stores.validations.add_validation(forged)
    bank.stores.validations.add_approval(
        Approval("credit-decision", "credit", 2, version.sha256, forged.digest, "bob", 1)
    )
    place = bank.promoter.places(version, follows=False)[0]
    permits = Permits(bank.stores.validations, bank.stores.audit, lambda: bank.now_us)

    why = permits(place.manifest.routes[0], place.live, place.declaration).why

    assert "credit@2 has no second person's consent" in why


REQUEST = {
    "applicant": "a", "checking": 3.0, "duration_months": 12.0, "history": 2.0,
    "amount_dm": 1000.0, "savings": 1.0, "employed": 3.0, "rate_class": 2.0,
}  # fmt: skip


class Served:
    """An application in this process, whose time is set by hand."""

    def __init__(self, app: splice.App, clock: list[int]) -> None:
        self.app, self._clock = app, clock

    def at(self, at_us: int) -> None:
        self._clock[0] = at_us

    async def version(self) -> str:
        """Of the route that answers, or the code of the refusal."""
        try:
            record = (await self.app.ask("credit-decision", REQUEST)).record
        except NotValidated as error:
            return error.code
        return record.version.split(" ")[0]

    async def until(self, wanted: str) -> None:
        for _ in range(1500):
            if await self.version() == wanted:
                return
            await asyncio.sleep(0.02)
        raise AssertionError(f"{await self.version()} answers still")


@asynccontextmanager
async def served(bank: Branch, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    clock = [bank.now_us]
    monkeypatch.setattr("splice.app.gating.now_us", lambda: clock[0])
    monkeypatch.setattr("splice.app.clock.now_us", lambda: clock[0])
    monkeypatch.setattr(watch, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(permitting, "BARRED_AGAIN_S", 0.05)
    async with splice.App(project=bank.folder, apply="never") as app:
        yield Served(app, clock)


@pytest.mark.parametrize(
    ("expired", "wanted"),
    [("alert", "credit@1"), ("demote", "scorecard"), ("refuse", "not_validated")],
)
async def test_an_end_does_what_is_declared(
    make: Callable[..., Branch], monkeypatch: pytest.MonkeyPatch, expired: str, wanted: str
) -> None:
    bank = make(more=f'valid_for="90 days", expired="{expired}"', risk="HIGH")
    async with served(bank, monkeypatch) as server:
        assert await server.version() == "credit@1"

        server.at(bank.newest.expires_us + 1)

        await server.until(wanted)
        troubles = [one for one in server.app.degraded() if "expired" in one]
        assert bool(troubles) == (expired != "alert")


async def test_calls_are_refused_at_the_end_also_while_the_ledger_is_away_and_until_it_is_renewed(
    make: Callable[..., Branch], monkeypatch: pytest.MonkeyPatch
) -> None:
    bank = make(more='valid_for="90 days", expired="refuse"', risk="HIGH")
    async with served(bank, monkeypatch) as server:
        await server.until("credit@1")
        reads = 0
        stores = server.app._services.stores  # pyright: ignore[reportPrivateUsage]

        def away(*_: object) -> Any:
            nonlocal reads
            reads += 1
            raise StoreError("ledger", got="no answer")

        with monkeypatch.context() as broken:
            broken.setattr(stores.releases, "live", away)
            broken.setattr(stores.validations, "validations", away)
            server.at(bank.newest.expires_us + 1)
            while not reads:
                await asyncio.sleep(0.01)
            await server.until("not_validated")
        server.at(bank.newest.expires_us - 30 * DAY_US)  # a clock set back revives nothing yet
        bank.now_us = bank.newest.expires_us + 2
        server.at(bank.now_us)
        first = bank.promoter.version("credit@1")
        bank.validate(first)
        bank.approve(first, by="bob")
        await server.until("credit@1")


async def test_the_chore_validates_what_is_due_in_a_process_of_its_own_and_only_then(
    make: Callable[..., Branch], monkeypatch: pytest.MonkeyPatch
) -> None:
    bank = make(more='fresh=splice.Fresh(every="1 h", window="60 days", least=50)')
    monkeypatch.undo()  # the other process has the time of this machine
    real = now_us()
    bank.ask(real - 5 * DAY_US)
    async with splice.App(project=bank.folder, apply="never") as app:
        services = app._services  # pyright: ignore[reportPrivateUsage]
        (chore,) = chores_of_validity(services)

        await asyncio.to_thread(chore.do, bank.due.at_us - 1)
        assert not bank.newest.fresh

        await asyncio.to_thread(chore.do, real)
        again = bank.newest
        assert (again.fresh, again.rows, again.passed) == (True, 300, True)
        assert bank.due.at_us > real

        await asyncio.to_thread(chore.do, real + 1)
        assert bank.newest == again


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ('expired="refuse"', "expired='refuse' of what holds for ever"),
        ('valid_for="9 d", expired="stop"', "expired='stop'"),
        ('valid_for="9 d", fresh=splice.Fresh(every="30 d")', "of what is valid for less"),
        ('fresh=splice.Fresh(every="soon")', "fresh.every 'soon'"),
        ('fresh=splice.Fresh(every="1 d", least=1)', "least=1"),
        ('fresh=splice.Fresh(every="1 d", least=10, most=9)', "least=10 of most=9"),
        ('fresh=splice.Fresh(every="1 d", outcome="paid")', "outcome 'paid'"),
        ('fresh=splice.Fresh(every="1 d", failed="no")', "failed='no'"),
        ("fresh=30", "fresh=30"),
    ],
)
def test_what_is_declared_wrongly_is_named_with_its_line(
    tmp_path: Path, more: str, told: str
) -> None:
    bank = Bank(tmp_path, declared(more=more))
    try:
        _, wrong = find(*modules_of(bank.settings))
    finally:
        bank.close()

    (mistake,) = wrong
    assert told in str(mistake)
    assert "integrations.py:" in str(mistake)
