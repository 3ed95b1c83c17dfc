"""A registry elsewhere: versions are taken over, handed on, and kept in step with it."""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from splice.app import wiring
from splice.app.clock import now_us
from splice.app.plugins import plugin
from splice.app.registering import Registrar
from splice.app.settings import Settings, user_name
from splice.control.cards import Cards
from splice.control.parity import TOLERANCE
from splice.control.registry import CHAMPION, Adopted, Registration
from splice.control.syncing import merged
from splice.core.errors import DeclarationError, ModelUnavailable, SettingsError, SpliceError
from splice.core.release import ModelVersion
from splice.core.versions import Card, Lineage
from splice.ports.registries import (
    ModelRegistry,
    RegistryOptions,
    RegistryRun,
    RegistryVersion,
)

_HASH = "splice.sha256"
_LABEL = "splice.version"
_THEIRS = ("mlflow.", "splice.")  # prefixes of tags that say something of the system, not the model


def registry_elsewhere(settings: Settings) -> ModelRegistry:
    """The registry that the settings name.

    Raises:
        SettingsError: They name none.
    """
    section = settings.registry
    if not section.url:
        raise SettingsError(
            "registry.url", got="nothing", promised="the URL of an MLflow server",
            mend='add [registry] with url = "http://host:5000" to splice.toml',
        )  # fmt: skip
    secrets = settings.secrets
    options = RegistryOptions(
        section.url,
        secrets.get(section.token_env, ""),
        secrets.get(section.user_env, ""),
        secrets.get(section.password_env, ""),
        section.most_mb << 20,
    )
    return plugin("registries", "mlflow")(options)


@contextmanager
def _opened(settings: Settings) -> Generator[ModelRegistry]:
    registry = registry_elsewhere(settings)
    try:
        yield registry
    finally:
        registry.close()


class Synced(msgspec.Struct, frozen=True):
    """What a sync did, as sentences for people."""

    done: tuple[str, ...]
    notes: tuple[str, ...]


def pull(
    settings: Settings,
    stores: wiring.Stores,
    name: str,
    ref: str,
    *,
    aliases: tuple[str, ...] = (),
    tolerance: float = TOLERANCE,
) -> Adopted:
    """Takes a version over: its file, its card, where it comes from.

    Raises:
        DeclarationError: There is no such version there; its conversion is too far off.
        ModelUnavailable: Its file is a pickle, of an unknown kind, or not the one that was pushed.
        StoreError: The registry is away; nothing was registered.
    """
    with _opened(settings) as elsewhere, tempfile.TemporaryDirectory(prefix="splice-pull-") as to:
        version = elsewhere.version(name, ref)
        if version is None:
            raise DeclarationError(
                f"{name}@{ref}", got="no such version in the registry",
                mend="name one that it lists",
            )  # fmt: skip
        file = elsewhere.fetch(version, Path(to))
        place = f"{elsewhere.scheme}:{name}/{version.version}"
        _check_hash(version, file, place)
        run = elsewhere.run(version.run)
        said = Registration(
            by=user_name(),
            source=place,
            aliases=aliases,
            card=_card(version, run),
            lineage=_lineage(elsewhere.scheme, place, run),
        )
        adopted = Registrar(settings, stores).file(name, file, said, tolerance=tolerance)
    tags = {key: text for key, text in version.tags.items() if not key.startswith(_THEIRS)}
    Cards(stores.audit).set_tags(
        adopted.version, tags, by=user_name(), now_us=now_us(), why=f"from {place}"
    )
    return adopted


def _check_hash(version: RegistryVersion, file: Path, place: str) -> None:
    from splice.app.registering import sha256_of

    promised = version.tags.get(_HASH, "")
    if promised and (found := sha256_of(file)) != promised:
        raise ModelUnavailable(
            place, got=f"a file of hash {found[:12]}…", promised=f"{promised[:12]}…",
            mend="it was changed after it was pushed: push the version again",
        )  # fmt: skip


def _card(version: RegistryVersion, run: RegistryRun | None) -> Card:
    tags = version.tags
    metrics = dict(run.metrics) if run is not None else {}
    return Card(
        owner=tags.get("owner", "") or (run.tags.get("mlflow.user", "") if run else ""),
        purpose=version.description,
        training_data=run.data if run is not None else "",
        metrics=metrics,
    )


def _lineage(scheme: str, place: str, run: RegistryRun | None) -> Lineage:
    if run is None:
        return Lineage(registry=place)
    return Lineage(
        data=run.data,
        data_sha256=run.tags.get("splice.data_sha256", ""),
        code_revision=run.tags.get("mlflow.source.git.commit", ""),
        params=dict(run.params),
        run=f"{scheme}:{run.id}",
        registry=place,
    )


def push(settings: Settings, stores: wiring.Stores, version: ModelVersion) -> str:
    """Registers a version of ours there, unless it is there; gives `mlflow:NAME/3`.

    Raises:
        DeclarationError: It is no ONNX file.
        StoreError: The registry is away; it has the version as a whole or not at all.
    """
    if version.format != "onnx":
        raise DeclarationError(
            version.label, got=f"a version of format {version.format}", promised="an ONNX file"
        )
    file = stores.models.file(version.sha256)
    cards = Cards(stores.audit)
    with _opened(settings) as elsewhere:
        known = _counterparts(elsewhere, stores, version.name).get(version.version)
        if known is None:
            tags = {**cards.tags(version), _HASH: version.sha256, _LABEL: version.label}
            if owner := cards.card(version).owner:
                tags["owner"] = owner
            known = elsewhere.add(version, file, tags).version
            stores.audit.add_event(
                "model.push", version.label, by=user_name(), now_us=now_us(),
                details={"registry": f"{elsewhere.scheme}:{version.name}/{known}"},
                after={"registry": f"{elsewhere.scheme}:{version.name}/{known}"},
            )  # fmt: skip
        return f"{elsewhere.scheme}:{version.name}/{known}"


def _counterparts(elsewhere: ModelRegistry, stores: wiring.Stores, name: str) -> dict[int, int]:
    """Version number here to version number there."""
    here = stores.models.models(name)
    by_hash = {one.sha256: one.version for one in here}
    by_place = {one.lineage.registry: one.version for one in here if one.lineage.registry}
    found: dict[int, int] = {}
    for version in sorted(elsewhere.versions(name), key=lambda one: one.version):
        place = f"{elsewhere.scheme}:{name}/{version.version}"
        number = by_place.get(place) or by_hash.get(version.tags.get(_HASH, ""))
        if number is not None:
            found[number] = version.version
    return found


def sync(settings: Settings, stores: wiring.Stores, name: str) -> Synced:
    """Makes aliases and tags alike, here and there, for versions that both sides have.

    What only one side changed since the last sync goes to the other; where both did, ours wins.
    The champion is decided here alone: its gates are here. Nothing is taken away.

    Raises:
        StoreError: The registry is away; what was not done is done the next time.
    """
    done: list[str] = []
    notes: list[str] = []
    with _opened(settings) as elsewhere:
        numbers = _counterparts(elsewhere, stores, name)
        base: dict[str, Any] = _last_sync(stores, name)
        aliases = _sync_aliases(elsewhere, stores, name, numbers, base, done, notes)
        tags = _sync_tags(elsewhere, stores, name, numbers, base, done, notes)
    state = {"aliases": aliases, "tags": tags}
    if state != base:
        stores.audit.add_event(
            "model.sync", name, by=user_name(), now_us=now_us(), details=state,
            before=base or None, after=state,
        )  # fmt: skip
    return Synced(tuple(done), tuple(notes))


def _last_sync(stores: wiring.Stores, name: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    since = 0
    while page := stores.audit.events(subject=name, since=since):
        for event in page:
            if event.action == "model.sync" and event.subject == name:
                found = event.details
        since = page[-1].number
    return found


def _sync_aliases(
    elsewhere: ModelRegistry,
    stores: wiring.Stores,
    name: str,
    numbers: dict[int, int],
    base: dict[str, Any],
    done: list[str],
    notes: list[str],
) -> dict[str, int]:
    """Aliases as both sides have them afterwards, by the numbers of there."""
    back = {there: here for here, there in numbers.items()}
    own = stores.models.aliases(name)
    ours = {alias: numbers[number] for alias, number in own.items() if number in numbers}
    notes += [
        f"{alias} here is version {number}, which is not there: splice models push {name}@{number}"
        for alias, number in own.items()
        if number not in numbers
    ]
    theirs = elsewhere.aliases(name)
    before: dict[str, int] = base.get("aliases", {})
    merge = merged(before, ours, theirs, only_ours=(CHAMPION,))
    for alias, number in merge.there.items():
        if alias in own and own[alias] not in numbers:
            continue
        elsewhere.set_alias(name, alias, number)
        done.append(f"{alias} there is version {number} now")
    for alias, number in merge.here.items():
        if alias in own and own[alias] not in numbers:
            continue  # it points at a version of ours that is not there yet
        if number not in back:
            notes.append(f"{alias} there is version {number}, which is not here: "
                         f"splice models pull {name} --version {number}")  # fmt: skip
            continue
        stores.models.set_alias(
            name, alias, back[number], by=user_name(), now_us=now_us(),
            why=f"as in {elsewhere.scheme}:{name}",
        )  # fmt: skip
        done.append(f"{alias} here is version {back[number]} now")
    notes += [f"{alias} was changed on both sides: ours holds" for alias in merge.conflicts
              if alias != CHAMPION]  # fmt: skip
    if CHAMPION in theirs and theirs[CHAMPION] != ours.get(CHAMPION):
        notes.append(f"the champion there was version {theirs[CHAMPION]}: it is decided here")
    kept = {alias: number for alias, number in merge.here.items() if number in back}
    return {**theirs, **merge.there, **kept}


def _sync_tags(
    elsewhere: ModelRegistry,
    stores: wiring.Stores,
    name: str,
    numbers: dict[int, int],
    base: dict[str, Any],
    done: list[str],
    notes: list[str],
) -> dict[str, dict[str, str]]:
    """Tags as both sides have them afterwards, by the numbers of here."""
    cards = Cards(stores.audit)
    there = {one.version: one.tags for one in elsewhere.versions(name)}
    here = {one.version: one for one in stores.models.models(name)}
    before: dict[str, dict[str, str]] = base.get("tags", {})
    after: dict[str, dict[str, str]] = {}
    for number, other in sorted(numbers.items()):
        ours = cards.tags(here[number])
        theirs = {k: v for k, v in there[other].items() if not k.startswith(_THEIRS)}
        merge = merged(before.get(str(number), {}), ours, theirs)
        if merge.there:
            elsewhere.set_tags(name, other, merge.there)
            done.append(f"{', '.join(merge.there)} of {name}@{number} is set there")
        if merge.here:
            cards.set_tags(
                here[number], merge.here, by=user_name(), now_us=now_us(),
                why=f"as in {elsewhere.scheme}:{name}/{other}",
            )  # fmt: skip
            done.append(f"{', '.join(merge.here)} of {name}@{number} is set here")
        notes += [f"tag {one} of {name}@{number} was changed on both sides: ours holds"
                  for one in merge.conflicts]  # fmt: skip
        if together := {**theirs, **ours, **merge.here}:
            after[str(number)] = together
    return after


def after_alias(
    settings: Settings, stores: wiring.Stores, version: ModelVersion, alias: str
) -> str:
    """Tells the registry that an alias moved here. Call it after the move: it undoes nothing.

    Returns:
        Empty, or why the other side lags behind, which is an audit event too: a sync mends it.
    """
    try:
        with _opened(settings) as elsewhere:
            number = _counterparts(elsewhere, stores, version.name).get(version.version)
            if number is None:
                return f"{version.label} is not in the registry: splice models push {version.label}"
            elsewhere.set_alias(version.name, alias, number)
            return ""
    except SpliceError as error:
        stores.audit.add_event(
            "model.registry_lags", version.label, by=user_name(), now_us=now_us(), why=str(error),
            details={"alias": alias},
        )  # fmt: skip
        return (
            f"The registry was not told of {version.name}@{alias}: {error} "
            f"Mend: splice models sync {version.name}"
        )
