"""The last three steps of a pipeline: register, validate, promote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from splice.app import gating, wiring
from splice.app.clock import now_us
from splice.app.promoting import after_move
from splice.app.registering import Registrar, revision_of, sha256_of
from splice.app.settings import Settings
from splice.control.cases import Case, refusal
from splice.control.pipelines import StepEnd
from splice.control.promote import Move, Promoter
from splice.control.registry import Registration
from splice.control.rollouts import Rollouts, Wanted, Who
from splice.core.errors import ModelUnavailable, NotPromoted, Overtaken
from splice.core.pipeline import PipelineRun
from splice.core.rollout import challenger_of, share_text
from splice.core.versions import Card, Lineage

CANDIDATE = "candidate"
"""The alias of the newest version that a pipeline made, promoted or not."""
_TRIES = 3


def registered(settings: Settings, run: PipelineRun) -> StepEnd:
    """The model's file becomes a version, with lineage and card; the same bytes are one version.

    Raises:
        ModelUnavailable: The file is not what training left, or no model.
    """
    made, data = run.outputs("train"), run.outputs("data")
    file = Path(made["model"])
    if not file.is_file() or sha256_of(file) != made["sha256"]:
        raise ModelUnavailable(
            str(file), got="a file that is gone, or has other bytes",
            promised=f"{made['sha256'][:12]}, as training left it", mend="run the pipeline again",
        )  # fmt: skip
    card = msgspec.convert(made["card"], Card)
    lineage = msgspec.structs.replace(
        msgspec.convert(made["lineage"], Lineage),
        data=data["name"], data_sha256=data["sha256"], run=made["run"],
        code_revision=revision_of(Path(settings.root)),
    )  # fmt: skip
    said = Registration(
        by=run.by,
        why=run.why,
        source=f"pipeline of {run.integration}",
        aliases=(CANDIDATE,),
        card=msgspec.structs.replace(card, metrics={**made["metrics"], **card.metrics}),
        lineage=lineage,
        new_signature=True,  # no call is answered by this alias: gates and people look at it
        details={"pipeline": run.id, "bundle": run.bundle},
    )
    stores = wiring.Stores(settings)
    try:
        kept = Registrar(settings, stores).file(run.model, file, said)
    finally:
        stores.close()
    outputs = {"version": kept.version.label, "sha256": kept.version.sha256, "new": kept.is_new}
    return StepEnd("done", inputs={"sha256": made["sha256"]}, outputs=outputs)


def validated(settings: Settings, run: PipelineRun) -> StepEnd:
    """The gates of every integration that the version would answer in are run.

    Raises:
        NotPromoted: It did not pass one of them, or an integration has none.
    """
    stores = wiring.Stores(settings)
    try:
        promoter = gating.promoter_of(settings, stores)
        validator = gating.validator_of(settings, stores)
        move = promoter.promotion(run.version)
        found: dict[str, Any] = {}
        for case in _cases(settings, stores, promoter, move, run):
            now = now_us()
            one = validator.standing(case, now) or validator.validate(case, by=run.by, now_us=now)
            if not one.passed:
                raise refusal(one)
            found[case.integration] = one.digest
        return StepEnd("done", inputs={"version": run.version}, outputs={"validations": found})
    finally:
        stores.close()


def _cases(
    settings: Settings, stores: wiring.Stores, promoter: Promoter, move: Move, run: PipelineRun
) -> list[Case]:
    """A case for every place: a place without gates is one that nothing may enter by itself."""
    only = run.integration if run.promote == "canary" else None
    places = promoter.places(move.version, only)
    if open_to_all := [one.live.integration for one in places if one.case is None and one.changes]:
        raise NotPromoted(
            move.version.label, got=f"no gates for it in {', '.join(open_to_all)}",
            promised="gates in every integration that routes by its champion",
            mend=f"declare gates there, or splice models promote {move.version.label}",
        )  # fmt: skip
    cases = [one.case for one in places if one.case is not None]
    live = {one.integration for one in stores.releases.live()}
    where = wiring.modules_of(settings)
    cases += [
        one
        for one in gating.declared_cases(settings, stores, move.version, where)
        if one.integration not in live and only in (None, one.integration)
    ]
    if not cases:
        raise NotPromoted(
            move.version.label, got="no integration with gates that routes by its champion",
            promised="gates to run", mend=f"splice release apply {run.integration}",
        )  # fmt: skip
    return cases


def promoted(settings: Settings, run: PipelineRun) -> StepEnd:
    """The version becomes the champion, or the challenger of the declared rollout.

    Raises:
        NotPromoted: Its gates, or a second person's consent, are lacking.
        Overtaken: Somebody changed what is live, three times in a row.
    """
    stores = wiring.Stores(settings)
    try:
        promoter = gating.promoter_of(settings, stores)
        for tried in range(_TRIES):
            try:
                move = promoter.promotion(run.version)
                done = (_canary if run.promote == "canary" else _champion)(
                    settings, stores, promoter, move, run
                )
                return StepEnd("done", inputs={"version": run.version}, outputs=done)
            except Overtaken:  # against the new champion, then
                if tried == _TRIES - 1:
                    raise
        raise AssertionError(run.version)  # the last try returns or raises
    finally:
        stores.close()


def _admitted(
    settings: Settings, stores: wiring.Stores, promoter: Promoter, move: Move, run: PipelineRun
) -> dict[str, str]:
    validator = gating.validator_of(settings, stores)
    cases = _cases(settings, stores, promoter, move, run)
    admitted = [validator.admit(case, by=run.by, now_us=now_us()) for case in cases]
    return {one.integration: one.digest for one in admitted}


def _champion(
    settings: Settings, stores: wiring.Stores, promoter: Promoter, move: Move, run: PipelineRun
) -> dict[str, Any]:
    before = f"{move.version.name}@{move.seen}" if move.seen else ""
    if not move.changes:
        return {"champion": move.version.label, "before": before, "releases": {}}
    _admitted(settings, stores, promoter, move, run)
    validations = promoter.checked(move, by=run.by, now_us=now_us())
    made = promoter.promote(
        move, validations, by=run.by, why=run.why or f"pipeline run {run.id}", now_us=now_us()
    )
    warning = after_move(settings, stores, move.version)
    releases = {one.integration: one.number for one in made.releases}
    told = {"champion": move.version.label, "before": before, "releases": releases}
    return {**told, "warning": warning} if warning else told


def _canary(
    settings: Settings, stores: wiring.Stores, promoter: Promoter, move: Move, run: PipelineRun
) -> dict[str, Any]:
    name, version = run.integration, move.version
    rollouts = Rollouts(stores.releases, stores.models)
    live = {one.integration for one in stores.releases.live()}
    if name not in live:
        raise NotPromoted(
            version.label, got=f"no live release of {name}, so no calls to have a share of",
            promised="a champion first", mend=f"splice models promote {version.label}",
        )  # fmt: skip
    now = rollouts.live(name)
    routes = [one for one in now.manifest.routes if one.model == version.name]
    if any(one.sha256 == version.sha256 for one in routes):
        return {"champion": version.label, "note": f"it answers in {name} already"}
    running = challenger_of(now.manifest.rollout)
    if running is not None:
        if running.routes[0].sha256 == version.sha256:
            return {"challenger": version.label, "share": share_text(running.share)}
        raise NotPromoted(
            version.label, got=f"a rollout of {running.routes[0].version}, which is running",
            promised="one rollout at a time",
            mend=f"splice rollout stop {name}, or splice rollout finish {name}",
        )  # fmt: skip
    _admitted(settings, stores, promoter, move, run)
    who = Who(run.by, run.why or f"pipeline run {run.id}", now_us())
    release = rollouts.start(name, version.label, Wanted(), who)
    started = challenger_of(release.manifest.rollout)
    share = share_text(started.share) if started is not None else ""
    return {"challenger": version.label, "share": share, "releases": {name: release.number}}
