"""What every PromotionStore must hold to.

Inherit `PromotionStoreContract` and give it the fixtures `promotions`, `models`, `releases` and
`audit`: the stores of one empty ledger; and `tmp_path`, a folder.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from splice.core.audit import first_broken
from splice.core.errors import Overtaken
from splice.core.release import Manifest, ModelVersion, PinnedRoute, Signature
from splice.ports.audit import AuditLog
from splice.ports.promotions import Promotion, PromotionStore, Repin
from splice.ports.stores import ModelStore, ReleaseStore

NOW_US = 1_793_880_000_000_000


def manifest_of(integration: str, version: ModelVersion) -> Manifest:
    """A manifest whose one route runs that version."""
    route = PinnedRoute(
        label="model:credit", kind="model", position=0, timeout_s=0.1, version=version.label,
        model=version.name, model_version=version.version, sha256=version.sha256,
    )  # fmt: skip
    return Manifest(
        integration=integration, entry="credit:Credit", bundle="cd" * 32, purpose="Lend.",
        risk="high", deadline_s=0.25, routes=(route,), request_schema={}, reply_schema={},
    )  # fmt: skip


class Stage:
    """A model of some versions, the first of which answers in every integration."""

    def __init__(
        self, models: ModelStore, releases: ReleaseStore, folder: Path, versions: int = 3
    ) -> None:
        self.models, self.releases = models, releases
        self.versions: list[ModelVersion] = []
        for number in range(versions):
            file = folder / f"{number}.onnx"
            file.write_bytes(b"model %d" % number)
            first = ModelVersion("credit", 0, "", 0, "onnx", Signature(), created_us=number)
            aliases = () if number else ("champion",)
            self.versions.append(models.add_model("credit", file, first, aliases=aliases))
        for name in ("credit-decision", "limits"):
            releases.add_release(
                manifest_of(name, self.versions[0]), by="ada", why="", now_us=NOW_US
            )

    def promotion(self, number: int, seen: int = 1, live: int = 1) -> Promotion:
        """Of version `number`, planned when `seen` was champion and `live` the live releases."""
        version = self.versions[number - 1]
        repins = tuple(
            Repin(name, live, manifest_of(name, version)) for name in ("limits", "credit-decision")
        )
        return Promotion(
            "model.promote", "credit", number, version.sha256, seen, repins, "bob", NOW_US + number,
            "better", {"unchecked": []},
        )  # fmt: skip

    def state(self) -> tuple[int, dict[str, int], list[str]]:
        """Champion, live releases, and what each of them runs."""
        live = {one.integration: one.number for one in self.releases.live()}
        runs: list[str] = []
        for name, number in live.items():
            release = self.releases.release(name, number)
            runs.append("" if release is None else release.manifest.routes[0].version)
        return self.models.aliases("credit").get("champion", 0), live, runs


class PromotionStoreContract:
    """All of it, or nothing; of two at once, one."""

    @pytest.fixture
    def stage(self, models: ModelStore, releases: ReleaseStore, tmp_path: Path) -> Stage:
        """Three versions and two live integrations."""
        return Stage(models, releases, tmp_path)

    def test_alias_releases_and_audit_event_change_together(
        self, promotions: PromotionStore, stage: Stage, audit: AuditLog
    ) -> None:
        made = promotions.promote(stage.promotion(2))

        assert stage.state() == (2, {"credit-decision": 2, "limits": 2}, ["credit@2"] * 2)
        assert {one.integration: one.number for one in made.releases} == stage.state()[1]
        assert (made.event.action, made.event.subject) == ("model.promote", "credit@2")
        assert made.event.details["before"] == 1
        assert made.event.details["releases"] == {"credit-decision": 2, "limits": 2}
        events = audit.events()
        assert made.event in events
        assert first_broken(events) is None
        change = stage.models.alias_history("credit", "champion")[0]
        assert (change.version, change.by, change.why) == (2, "bob", "better")

    def test_a_manifest_that_had_a_number_gets_it_again(
        self, promotions: PromotionStore, stage: Stage
    ) -> None:
        promotions.promote(stage.promotion(2))

        back = promotions.promote(stage.promotion(1, seen=2, live=2))

        assert [one.number for one in back.releases] == [1, 1]
        assert stage.state() == (1, {"credit-decision": 1, "limits": 1}, ["credit@1"] * 2)

    @pytest.mark.parametrize("spoil", ["champion", "release", "withdrawn", "bytes"])
    def test_nothing_changes_where_something_was_changed_meanwhile(
        self, promotions: PromotionStore, stage: Stage, audit: AuditLog, spoil: str
    ) -> None:
        promotion = stage.promotion(2)
        if spoil == "champion":
            stage.models.set_alias("credit", "champion", 3)
        elif spoil == "release":
            stage.releases.add_release(
                manifest_of("limits", stage.versions[2]), by="eve", why="", now_us=NOW_US
            )
        elif spoil == "withdrawn":
            stage.models.withdraw("credit", 2, "wrong data")
        else:
            promotion = msgspec.structs.replace(promotion, sha256="0" * 64)
        before, events = stage.state(), audit.events()

        with pytest.raises(Overtaken):
            promotions.promote(promotion)

        assert stage.state() == before
        assert audit.events() == events

    def test_of_many_at_once_one_wins_and_the_others_are_told(
        self, promotions: PromotionStore, stage: Stage, audit: AuditLog
    ) -> None:
        def promote(number: int) -> int:
            try:
                promotions.promote(stage.promotion(number))
            except Overtaken:
                return 0
            return number

        with ThreadPoolExecutor(8) as pool:
            won = [number for number in pool.map(promote, [2, 3] * 4) if number]

        assert len(won) == 1
        assert stage.state() == (
            won[0], {"credit-decision": 2, "limits": 2}, [f"credit@{won[0]}"] * 2,
        )  # fmt: skip
        assert [e.action for e in audit.events()].count("model.promote") == 1

    def test_a_version_without_a_champion_before_it_can_be_promoted(
        self, promotions: PromotionStore, models: ModelStore, tmp_path: Path
    ) -> None:
        file = tmp_path / "new.onnx"
        file.write_bytes(b"new")
        version = models.add_model("new", file, ModelVersion("new", 0, "", 0, "onnx", Signature()))

        promotions.promote(
            Promotion("model.promote", "new", 1, version.sha256, 0, (), "bob", NOW_US)
        )

        assert models.aliases("new") == {"champion": 1}
