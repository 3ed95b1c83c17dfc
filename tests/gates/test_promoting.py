"""Who may promote what, and what then answers; whoever wrote it into the ledger."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from gates_house import Bank, bad, good, integration, logistic, other

import splice
from splice.app import watch
from splice.app.gating import permits_of
from splice.core.audit import first_broken
from splice.core.errors import (
    ModelUnavailable,
    NotPromoted,
    Overtaken,
    UnknownModel,
)
from splice.core.release import NotLoaded, Release
from splice.core.validation import Approval, Validation
from splice.declare.discover import reopen

AUC = 'splice.AtLeast("auc", 0.7)'


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Bank]]:
    """Makes a project where credit@1, a good model of ada's, is the champion."""
    made: list[Bank] = []

    def bank(*must: str, more: str = "", risk: str = "LIMITED") -> Bank:
        one = Bank(tmp_path / f"{len(made)}", integration(*(must or (AUC,)), more=more, risk=risk))
        one.add(good(), alias="champion")
        made.append(one)
        return one

    yield bank
    for one in made:
        one.close()


def event_names(bank: Bank) -> list[str]:
    return [one.action for one in bank.stores.audit.events()]


def test_a_version_that_passed_answers_at_once_and_the_log_tells(
    make: Callable[..., Bank],
) -> None:
    bank = make()
    bank.apply()
    version = bank.add(other())

    made = bank.promote(version)

    assert (bank.champion, bank.runs) == (2, "credit@2")
    assert [one.number for one in made.releases] == [2]
    assert made.releases[0].manifest.gates == (bank.case(version).pin,)
    (validation,) = bank.stores.validations.validations("credit", 2)
    assert made.event.details["validations"] == {"credit-decision": validation.digest}
    assert event_names(bank)[-4:] == [
        "model.register", "model.validate", "release.promote", "model.promote",
    ]  # fmt: skip
    assert first_broken(bank.stores.audit.events()) is None


def test_promoting_again_changes_nothing(make: Callable[..., Bank]) -> None:
    bank = make()
    bank.apply()
    version = bank.add(other())
    bank.promote(version)

    assert not bank.promoter.promotion("credit@2").changes


def test_a_validation_is_asked_once_and_anew_for_other_data_gates_or_champion(
    make: Callable[..., Bank],
) -> None:
    bank = make(AUC, 'splice.NotWorse("auc", margin=0.5)')
    bank.apply()
    version = bank.add(other())
    bank.validate(version)

    assert bank.validator.standing(bank.case(version), bank.now_us) is not None
    third = bank.add(logistic("changed = Mul(logit, unit)"))
    bank.promote(third)
    assert bank.validator.standing(bank.case(version), bank.now_us) is None
    bank.validate(version)
    bank.declare(integration('splice.AtLeast("auc", 0.71)'))
    bank.apply()
    assert bank.validator.standing(bank.case(version), bank.now_us) is None


def test_the_newest_validation_counts_and_not_one_that_passed_before(
    make: Callable[..., Bank],
) -> None:
    bank = make()
    bank.apply()
    version = bank.add(other())
    passed = bank.validate(version)
    failed = msgspec.structs.replace(
        passed, at_us=bank.tick(),
        results=(msgspec.structs.replace(passed.results[0], passed=False),),
    )  # fmt: skip
    bank.stores.validations.add_validation(failed)

    assert bank.validator.standing(bank.case(version), bank.now_us) is None


def test_data_that_changed_since_the_release_was_made_is_refused(
    make: Callable[..., Bank],
) -> None:
    bank = make()
    bank.apply()
    version = bank.add(other())
    bank.validate(version)
    file = bank.folder / "data" / "holdout.csv"
    file.write_text("\n".join(file.read_text().splitlines()[:-20]) + "\n")

    with pytest.raises(NotPromoted, match=r"280 rows, expected .* 300 rows"):
        bank.validate(version)

    bank.apply()  # pins the new ones: what was found with the old ones counts no more
    assert bank.validator.standing(bank.case(version), bank.now_us) is None
    bank.promote(version)
    assert bank.champion == 2


def test_apply_takes_a_new_file_only_through_the_gates(make: Callable[..., Bank]) -> None:
    bank = make()
    bank.apply()
    file = bank.folder / "models" / "credit.onnx"
    file.parent.mkdir()
    file.write_bytes(bad())

    with pytest.raises(NotPromoted, match=r"AtLeast auc: auc is 0\.5.*wanted at least 0\.7"):
        bank.apply()

    assert (bank.champion, bank.runs) == (1, "credit@1")
    assert bank.stores.models.resolve("credit", "2") is not None  # it is a version all the same
    file.write_bytes(other())
    bank.apply()
    assert (bank.champion, bank.runs) == (3, "credit@3")


@pytest.mark.parametrize(
    ("spoil", "error", "says"),
    [
        ("bytes", ModelUnavailable, "credit|hash|changed"),
        ("withdrawn", NotPromoted, "withdrawn version: wrong data"),
        ("signature", NotPromoted, "a signature that is not the artifact's"),
    ],
)
def test_what_was_tampered_with_or_withdrawn_is_refused(
    make: Callable[..., Bank], spoil: str, error: type[Exception], says: str
) -> None:
    bank = make()
    bank.apply()
    version = bank.add(other())
    bank.validate(version)
    if spoil == "bytes":
        file = bank.stores.models.file(version.sha256)
        file.chmod(0o644)
        file.write_bytes(file.read_bytes()[:-1] + b"\0")
    elif spoil == "withdrawn":
        bank.stores.models.withdraw("credit", 2, "wrong data")
    else:
        ledger(bank).execute(
            "UPDATE models SET signature = replace(signature, 'FP32', 'FP64') WHERE version = 2"
        )

    with pytest.raises(error, match=says):
        bank.promote(version)

    assert (bank.champion, bank.runs) == (1, "credit@1")


def ledger(bank: Bank) -> sqlite3.Connection:
    """The database, as whoever has its password writes to it."""
    found = next((bank.folder / ".splice").rglob("*.db"))
    return sqlite3.connect(found, isolation_level=None)


def test_high_risk_waits_for_somebody_who_neither_registered_nor_promotes(
    make: Callable[..., Bank],
) -> None:
    bank = make(risk="HIGH")
    version = bank.add(other())
    (first,) = [bank.stores.models.resolve("credit", "1")]
    assert first is not None

    with pytest.raises(NotPromoted, match="splice models approve credit@1"):
        bank.apply(by="bob")

    with pytest.raises(NotPromoted, match="consent of ada, who registered it"):
        bank.approve(first, by="ada")
    bank.approve(first, by="bob")
    with pytest.raises(NotPromoted, match="somebody else than bob and ada"):
        bank.apply(by="bob")
    bank.apply(by="carol")
    bank.validate(version)
    bank.approve(version, by="bob")
    with pytest.raises(NotPromoted, match="no second person's consent"):
        bank.promote(version, by="bob")
    bank.promote(version, by="ada")

    assert (bank.champion, bank.runs) == (2, "credit@2")


def test_consent_is_to_one_validation_and_no_other(make: Callable[..., Bank]) -> None:
    bank = make(more="approver=True")
    bank.approve_first()
    bank.apply(by="carol")
    version = bank.add(other())
    with pytest.raises(NotPromoted, match="no validation that passed"):
        bank.approve(version, by="bob")
    bank.validate(version)
    bank.approve(version, by="bob")
    bank.validate(version)  # another one: nobody has looked at this

    with pytest.raises(NotPromoted, match="no second person's consent"):
        bank.promote(version, by="carol")


def test_of_two_who_promote_at_once_one_is_told(make: Callable[..., Bank]) -> None:
    bank = make()
    bank.apply()
    second, third = bank.add(other()), bank.add(logistic("changed = Mul(logit, unit)"))
    promoter = bank.promoter
    slow = promoter.promotion(second.label)
    checked = promoter.checked(slow, by="ada", now_us=bank.tick())

    bank.promote(third)
    with pytest.raises(Overtaken, match="version 3, expected version 1"):
        promoter.promote(slow, checked, by="ada", why="", now_us=bank.tick())

    assert (bank.champion, bank.runs) == (3, "credit@3")


def test_rolling_back_goes_to_the_champion_before_and_further(make: Callable[..., Bank]) -> None:
    bank = make()
    first = bank.apply()
    bank.promote(bank.add(other()))
    bank.promote(bank.add(logistic("changed = Mul(logit, unit)")))

    back = bank.roll_back()
    assert (bank.champion, bank.runs, back.releases[0].number) == (2, "credit@2", 2)
    assert bank.roll_back().releases[0].number == first.number
    assert bank.runs == "credit@1"
    with pytest.raises(NotPromoted, match="no champion before"):
        bank.roll_back()
    assert bank.roll_back(to=3).event.action == "model.rollback"
    assert bank.runs == "credit@3"


def test_no_way_back_to_what_never_was_champion_or_is_withdrawn(
    make: Callable[..., Bank],
) -> None:
    bank = make()
    bank.apply()
    bank.promote(bank.add(other()))
    bank.add(bad())

    with pytest.raises(NotPromoted, match="never was champion"):
        bank.roll_back(to=3)
    with pytest.raises(UnknownModel, match="one of credit: 3, 2, 1"):
        bank.roll_back(to=9)
    bank.stores.models.withdraw("credit", 1, "wrong data")
    with pytest.raises(NotPromoted, match="no champion before"):
        bank.roll_back()


def test_an_alias_that_was_moved_by_hand_is_no_way_round_the_gates(
    make: Callable[..., Bank],
) -> None:
    bank = make()
    bank.apply()
    bank.add(bad(), alias="champion")
    bank.stores.models.set_alias("credit", "champion", 1)

    with pytest.raises(NotPromoted, match="credit@2: got a version that never answered"):
        bank.roll_back(to=2)


def test_where_no_gates_were_declared_a_rollback_asks_nothing(make: Callable[..., Bank]) -> None:
    bank = make()
    source = integration(AUC)
    bank.declare(source[: source.index("    gates =")] + source[source.index("    def decide") :])
    bank.apply()
    bank.promote(bank.add(bad()))

    bank.roll_back()

    assert (bank.champion, bank.runs) == (1, "credit@1")


def test_high_risk_does_not_go_back_to_what_would_not_run(
    make: Callable[..., Bank], monkeypatch: pytest.MonkeyPatch
) -> None:
    bank = make(risk="HIGH", more='approver=False, valid_for="10 days"')
    bank.apply()
    bank.now_us += 9 * 86_400 * 1_000_000
    bank.promote(bank.add(other()))
    bank.now_us += 2 * 86_400 * 1_000_000
    monkeypatch.setattr("splice.app.gating.now_us", lambda: bank.now_us)

    with pytest.raises(NotPromoted, match=r"the validation of credit@1 .* expired"):
        bank.roll_back()


def test_a_route_by_number_stays_where_it_is(make: Callable[..., Bank]) -> None:
    bank = make()
    bank.declare(integration(AUC).replace("credit@champion", "credit@1"))
    bank.apply()

    made = bank.promote(bank.add(other()))

    assert (bank.champion, bank.runs, made.releases) == (2, "credit@1", ())


REQUEST = {
    "applicant": "a", "checking": 3.0, "duration_months": 12.0, "history": 2.0,
    "amount_dm": 1000.0, "savings": 1.0, "employed": 3.0, "rate_class": 2.0,
}  # fmt: skip


async def answered(bank: Bank) -> tuple[str, str]:
    """The version that answers a call now, and why an earlier route did not."""
    async with splice.App(project=bank.folder, apply="never") as app:
        record = (await app.ask("credit-decision", REQUEST)).record
        return record.version.split(" ")[0], record.attempts[0].why


def approved(bank: Bank, by: str = "carol") -> None:
    """credit@1 passed, was approved and applied."""
    bank.approve_first()
    bank.apply(by=by)


async def test_high_risk_runs_what_passed_and_was_approved(make: Callable[..., Bank]) -> None:
    bank = make(risk="HIGH")
    approved(bank)

    assert await answered(bank) == ("credit@1", "")


def forge(bank: Bank, version: int) -> None:
    """Whoever writes to the database makes a version the champion and its release live."""
    with ledger(bank) as db:
        sha256 = db.execute("SELECT sha256 FROM models WHERE version = ?", [version]).fetchone()[0]
        manifest = db.execute("SELECT manifest FROM releases WHERE number = 1").fetchone()[0]
        first = db.execute("SELECT sha256 FROM models WHERE version = 1").fetchone()[0]
        forged = manifest.replace("credit@1", f"credit@{version}").replace(first, sha256)
        forged = forged.replace('"model_version":1', f'"model_version":{version}')
        columns = "integration, number, manifest, digest, created_us, by, why"
        db.execute(
            f"INSERT INTO releases ({columns}) VALUES ('credit-decision', 2, ?, 'x', 1, 'eve', '')",
            [forged],
        )
        db.execute("UPDATE heads SET number = 2, generation = generation + 1")
        db.execute("UPDATE model_aliases SET version = ?", [version])


def tell(bank: Bank, number: int) -> None:
    """Who forged a release tells the audit log of it, too: there it stays to be seen."""
    release = bank.stores.releases.release("credit-decision", number)
    assert release is not None
    bank.stores.audit.add_event(
        "release.live", "credit-decision", by="eve", now_us=bank.tick(),
        details={"release": number, "before": 1},
        after={"release": number, "digest": release.stored},
    )  # fmt: skip


def unchain(db: sqlite3.Connection) -> None:
    """Who may write to the database may take its triggers away."""
    for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        db.execute(f"DROP TRIGGER {name}")


@pytest.mark.parametrize("risk", ["HIGH", "LIMITED"])
async def test_a_release_written_into_the_database_does_not_answer(
    make: Callable[..., Bank], risk: str
) -> None:
    bank = make(risk=risk, more="approver=True")
    approved(bank)
    bank.add(bad())
    forge(bank, 2)

    with pytest.raises(NotLoaded):
        await answered(bank)


async def test_a_release_written_into_the_database_leaves_the_one_that_answers(
    make: Callable[..., Bank], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "POLL_SECONDS", 0.02)
    bank = make(risk="HIGH")
    approved(bank)
    bank.add(bad())
    async with splice.App(project=bank.folder, apply="never") as app:
        forge(bank, 2)
        while not app.degraded():
            await watch.asyncio.sleep(0.02)

        record = (await app.ask("credit-decision", REQUEST)).record

        assert record.version.split(" ")[0] == "credit@1"
        assert any("the audit log knows of no such release" in one for one in app.degraded())


async def test_a_release_changed_in_the_database_does_not_answer(
    make: Callable[..., Bank],
) -> None:
    bank = make(risk="HIGH")
    approved(bank)
    with ledger(bank) as db:
        unchain(db)
        db.execute("UPDATE releases SET manifest = replace(manifest, '\"high\"', '\"low\"')")

    with pytest.raises(NotLoaded):
        await answered(bank)


async def test_a_version_that_slipped_in_does_not_run_where_risk_is_high(
    make: Callable[..., Bank],
) -> None:
    bank = make(risk="HIGH")
    approved(bank)
    bank.add(bad())
    forge(bank, 2)
    tell(bank, 2)

    version, why = await answered(bank)

    assert version == "scorecard"
    assert "credit@2 passed no validation for credit-decision" in why


async def test_a_validation_without_consent_does_not_let_it_run(make: Callable[..., Bank]) -> None:
    bank = make(risk="HIGH")
    approved(bank)
    version = bank.add(other())
    validation = bank.validate(version)
    own = Approval("credit-decision", "credit", 2, version.sha256, validation.digest, "ada", 1)
    bank.stores.validations.add_approval(own)  # by who registered it
    forge(bank, 2)
    tell(bank, 2)

    version_that_runs, why = await answered(bank)

    assert version_that_runs == "scorecard"
    assert "credit@2 has no second person's consent" in why


@pytest.mark.parametrize("how", ["nothing", "one gate", "failed", "other bytes"])
def test_a_forged_validation_that_does_not_cover_the_gates_is_none(
    make: Callable[..., Bank], how: str
) -> None:
    bank = make(AUC, 'splice.Size("1 MB")', risk="HIGH", more="approver=False")
    release = bank.apply()
    version = bank.add(other())
    real = bank.validate(version)
    forged = {
        "nothing": {"results": ()},
        "one gate": {"results": real.results[:2]},
        "failed": {"results": (*real.results[:2], msgspec.structs.replace(
            real.results[2], passed=False))},
        "other bytes": {"sha256": "0" * 64},
    }[how]  # fmt: skip

    assert permit(bank, release, version.label, [real]) == ""
    assert "passed no validation" in permit(
        bank, release, version.label, [msgspec.structs.replace(real, **forged)]
    )


class Told:
    """A ValidationStore that says what it was told to hold."""

    def __init__(self, validations: list[Validation]) -> None:
        self._validations = validations

    def validations(self, model: str, version: int | None = None) -> list[Validation]:
        return self._validations

    def approvals(self, validation: str) -> list[Approval]:
        return []


def permit(bank: Bank, release: Release, label: str, validations: list[Validation]) -> str:
    """Why the release may not run that version."""

    class Stores:
        validations = Told([])
        audit = bank.stores.audit

    Stores.validations = Told(validations)
    place = bank.promoter.places(bank.promoter.version(label))[0]
    route = place.manifest.routes[0]
    stores: Any = Stores
    return permits_of(stores)(route, release, place.declaration).why


async def test_an_expired_validation_demotes_while_the_server_runs_and_a_new_one_brings_it_back(
    make: Callable[..., Bank], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1_793_880_100_000_000]
    monkeypatch.setattr("splice.app.gating.now_us", lambda: clock[0])
    monkeypatch.setattr("splice.app.clock.now_us", lambda: clock[0])
    monkeypatch.setattr("splice.app.permitting.BARRED_AGAIN_S", 0.05)
    monkeypatch.setattr(watch, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(watch, "_AGAIN_SECONDS", 0.05)
    bank = make(risk="HIGH", more='valid_for="90 days"')
    approved(bank)

    async with splice.App(project=bank.folder, apply="never") as app:

        async def version() -> str:
            return (await app.ask("credit-decision", REQUEST)).record.version.split(" ")[0]

        async def until(wanted: str) -> None:
            for _ in range(1500):
                if await version() == wanted:
                    return
                await watch.asyncio.sleep(0.02)
            raise AssertionError(f"{await version()} answers still")

        await until("credit@1")
        clock[0] += 90 * 86_400 * 1_000_000
        await until("scorecard")
        record = (await app.ask("credit-decision", REQUEST)).record
        assert "the validation of credit@1 for credit-decision expired 2027-02-" in (
            record.attempts[0].why
        )
        assert any("expired" in one for one in app.degraded())
        bank.now_us = clock[0]
        first = bank.promoter.version("credit@1")
        bank.validate(first)
        bank.approve(first, by="bob")
        await until("credit@1")


async def test_a_replay_of_an_old_release_is_not_held_up_by_a_validation_that_expired(
    make: Callable[..., Bank], monkeypatch: pytest.MonkeyPatch
) -> None:
    bank = make(risk="HIGH", more='valid_for="90 days"')
    approved(bank)
    async with splice.App(project=bank.folder, apply="never") as app:
        monkeypatch.setattr("splice.app.gating.now_us", lambda: bank.now_us)
        call = await app.ask("credit-decision", REQUEST)
        bank.declare(integration(AUC, risk="LIMITED"))
        bank.apply()
        await watch.asyncio.sleep(0)
        monkeypatch.setattr(
            "splice.app.gating.now_us", lambda: bank.now_us + 91 * 86_400 * 1_000_000
        )
        _, again = await app.replay(call.record.call_id, 1)
        assert again.record.version.split(" ")[0] == "credit@1"


def test_a_bundle_reads_its_gates_again(make: Callable[..., Bank]) -> None:
    bank = make(AUC, "splice.AtMost(mistakes, 0.5)")
    release = bank.apply()

    manifest = release.manifest
    declaration = reopen(bank.stores.releases.bundle(manifest.bundle), manifest.entry)

    (gates,) = declaration.options.gates
    assert gates.digest(manifest.bundle) == manifest.gates[0].sha256
