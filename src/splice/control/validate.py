"""Validate: the gates of an integration run against a version; what was found is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import msgspec

from splice.control import datasets
from splice.control.cases import Case, approvals_of, placed, refusal, registrar_of
from splice.control.fresh import asked_again
from splice.control.gates.trial import Trial
from splice.control.registry import CHAMPION, split_ref
from splice.core.errors import NotPromoted, RouteError, SettingsError
from splice.core.release import (
    Manifest,
    ModelVersion,
    PinnedGates,
    PinnedRoute,
    Release,
    Signature,
)
from splice.core.units import plural
from splice.core.validation import Approval, GateResult, Validation
from splice.declare.discover import Found
from splice.declare.gates import Gate, NotWorse, ReadGates, gates_for
from splice.declare.reading import Declaration
from splice.declare.spec import Model
from splice.ports.audit import AuditLog
from splice.ports.stores import ModelStore
from splice.ports.validations import ValidationStore

VALIDATED = "model.validate"
VALIDATED_AGAIN = "model.revalidate"

Trials = Callable[[Declaration, PinnedRoute, Mapping[bytes, datasets.Looked]], Trial]
"""Makes a trial of a route; what recorded requests looked up is given."""


def _unseen(version: ModelVersion, data: datasets.DataSet) -> tuple[GateResult, ...]:
    """A version that learned from the very rows that it is judged by proves nothing by them."""
    if version.lineage.data_sha256 != data.sha256:
        return ()
    told = f"{version.label} was trained on {data.name} itself: its lineage has the same hash"
    return (GateResult("Unseen", passed=False, detail=told),)


class Validator:
    """Runs gates, and says which versions have passed them.

    Args:
        models: Where versions and their bytes are.
        validations: Where results and approvals are kept.
        audit: Every run and every approval is told there.
        trials: Makes a trial of a route, through its integration.
        inspect: The signature of an artifact; None where this process cannot read its format.
        root: Folder that data sets are named from.
    """

    def __init__(
        self,
        models: ModelStore,
        validations: ValidationStore,
        audit: AuditLog,
        trials: Trials,
        inspect: Callable[[ModelVersion, Path], Signature | None],
        root: Path,
    ) -> None:
        self._models = models
        self._validations = validations
        self._audit = audit
        self._trials = trials
        self._inspect = inspect
        self._root = root
        self._read: dict[tuple[str, str], datasets.DataSet] = {}  # by SHA-256 and label

    def pins(
        self, declaration: Declaration, bundle: str, before: Manifest | None
    ) -> tuple[PinnedGates, ...]:
        """What a release pins of the declared gates: their digest, and the data set by its hash.

        Where the file is not at hand, what the live release pinned of the same gates stands.

        Raises:
            SettingsError: The data set is not there, or cannot be read.
        """
        return tuple(self._pin(one, bundle, before) for one in declaration.options.gates)

    def _pin(self, gates: ReadGates, bundle: str, before: Manifest | None) -> PinnedGates:
        digest = gates.digest(bundle)
        earlier = () if before is None else before.gates
        known = next((one for one in earlier if one.sha256 == digest), None)
        file = self._root / gates.data.path
        if known is not None and (not file.is_file() or datasets.hashed(file) == known.data_sha256):
            return msgspec.structs.replace(known, validity=gates.validity)
        data = self._data(gates)
        return PinnedGates(digest, data.name, data.sha256, data.rows, gates.model, gates.validity)

    def _data(self, gates: ReadGates) -> datasets.DataSet:
        """The data set as it is now; the same bytes are taken apart once."""
        key = (datasets.hashed(self._root / gates.data.path), gates.data.label)
        if key not in self._read:
            self._read = {key: datasets.read(self._root, gates.data)}
        return self._read[key]

    def case(
        self,
        declaration: Declaration,
        manifest: Manifest,
        route: PinnedRoute,
        version: ModelVersion,
        live: Release | None,
    ) -> Case | None:
        """The case of a version in that place; None where no gates are declared for its model."""
        gates = gates_for(declaration.options.gates, version.name)
        if gates is None:
            return None
        digest = gates.digest(manifest.bundle)
        pin = next((one for one in manifest.gates if one.sha256 == digest), None)
        champion = self._champion(version, live)
        return Case(declaration, manifest.bundle, gates, route, version, champion, pin)

    def declared(self, found: Found, version: ModelVersion) -> Case | None:
        """The case of a version by a declaration that has no release yet; None without gates."""
        declaration = found.declaration
        gates = gates_for(declaration.options.gates, version.name)
        for position, timed in enumerate(declaration.routes):
            route = timed.route
            if gates is None or not isinstance(route, Model):
                continue
            name, which = split_ref(route.ref)
            if name != version.name or which not in (CHAMPION, str(version.version)):
                continue
            pinned = PinnedRoute(
                route.label, "model", position, timed.timeout_s, "", version.name,
                features=route.features,
            )  # fmt: skip
            champion = self._champion(version, None)
            pinned = placed(pinned, version)
            return Case(declaration, found.bundle.sha256, gates, pinned, version, champion)
        return None

    def cases(
        self, declaration: Declaration, manifest: Manifest, live: Release | None
    ) -> list[Case]:
        """A case for every version with gates that would answer calls, each once."""
        rollout = manifest.rollout
        variants = () if rollout is None else rollout.variants
        found: dict[tuple[str, str], Case] = {}
        for route in (*manifest.routes, *(one for of in variants for one in of.routes)):
            key = (route.model, route.sha256)
            if not route.sha256 or key in found:
                continue
            version = self._models.resolve(route.model, str(route.model_version))
            if version is None or version.sha256 != route.sha256:
                raise NotPromoted(
                    route.version, got="no such version", promised="the one that was planned",
                    mend="apply again",
                )  # fmt: skip
            case = self.case(declaration, manifest, route, version, live)
            if case is not None:
                found[key] = case
        return list(found.values())

    def _champion(self, version: ModelVersion, live: Release | None) -> ModelVersion | None:
        """What answers now: that counts, whatever the alias says meanwhile."""
        routes = () if live is None else live.manifest.routes
        numbers = [str(one.model_version) for one in routes if one.model == version.name]
        for which in (*numbers, CHAMPION):
            found = self._models.resolve(version.name, which)
            if found is not None and found.sha256 != version.sha256:
                return found
        return None

    def validate(
        self, case: Case, *, by: str, now_us: int, calls: datasets.DataSet | None = None
    ) -> Validation:
        """One run of the gates, stored and told in the audit log; of recorded calls where given.

        Raises:
            NotPromoted: The artifact is not what was registered, or the data not what was pinned.
            ModelUnavailable: The artifact is gone, was changed, or cannot be loaded.
            SettingsError: The data set cannot be read, or numpy is not installed.
        """
        self.check_artifact(case.version)
        data = self._data(case.gates) if calls is None else calls
        if calls is None and case.pin is not None and data.sha256 != case.pin.data_sha256:
            raise NotPromoted(
                f"{case.integration}.gates",
                got=f"{data.name} of {data.sha256[:12]}, {plural(data.rows, 'row')}",
                promised=f"{case.pin.data_sha256[:12]}, {plural(case.pin.rows, 'row')}, as pinned",
                mend=f"splice release apply {case.integration}",
            )
        must = case.gates.must if calls is None else asked_again(case.gates, case.declaration)
        results = (*self._run(case, data, must), *_unseen(case.version, data))
        valid_us = int(case.gates.valid_s * 1e6)
        validation = Validation(
            integration=case.integration,
            model=case.version.name,
            version=case.version.version,
            sha256=case.version.sha256,
            data=data.name,
            data_sha256=data.sha256,
            rows=data.rows,
            gates_sha256=case.gates_sha256,
            at_us=now_us,
            expires_us=now_us + valid_us if valid_us else 0,
            by=by,
            results=results,
            champion=0 if case.champion is None else case.champion.version,
            since_us=data.since_us,
            until_us=data.until_us,
        )
        # As it comes back from the ledger (an interval that is none is null there): one digest.
        validation = msgspec.json.decode(msgspec.json.encode(validation), type=Validation)
        failed = [one.gate for one in results if not one.passed]
        details = {"integration": case.integration, "validation": validation.digest,
                   "passed": validation.passed, "failed": failed}  # fmt: skip
        # Told first: a validation of which the audit log knows nothing must not count.
        self._audit.add_event(
            VALIDATED if calls is None else VALIDATED_AGAIN, case.version.label, by=by,
            now_us=now_us, details=details,
            after={"validation": validation.digest, "passed": validation.passed},
        )  # fmt: skip
        self._validations.add_validation(validation)
        return validation

    def check_artifact(self, version: ModelVersion) -> None:
        """Passes a version whose bytes and signature are what was registered.

        Raises:
            NotPromoted: Its signature is not the artifact's.
            ModelUnavailable: The artifact is gone, or its bytes have another hash.
        """
        file = self._models.file(version.sha256)  # refuses a file of another hash
        found = self._inspect(version, file)
        if found is None:
            return
        registered = version.signature
        if (found.inputs, found.outputs) != (registered.inputs, registered.outputs):
            raise NotPromoted(
                version.label,
                got="a signature that is not the artifact's",
                promised=f"inputs {_columns(found)}",
                mend="it was changed in the registry: register the file again",
            )

    def _run(
        self, case: Case, data: datasets.DataSet, must: Sequence[Gate]
    ) -> tuple[GateResult, ...]:
        try:
            # Imported here: numpy comes with the runtimes, and a gateway has none.
            from splice.control.gates.bench import Bench
            from splice.control.gates.run import ANSWERS, run
            from splice.control.gates.sample import Sample
        except ImportError as error:
            raise SettingsError("gates", got=str(error), mend="install splice-ai[onnx]") from error
        declaration, positive = case.declaration, case.gates.data.positive
        requests = data.requests(declaration.request, declaration.fields)
        route, looks = case.route, data.looks
        champion_sample = None
        if case.champion is not None and any(isinstance(one, NotWorse) for one in must):
            with closing(self._trials(declaration, placed(route, case.champion), looks)) as other:
                champion_sample = Sample(data.labels, other.ask(requests), positive)
        try:
            ready = self._trials(declaration, placed(route, case.version), looks)
        except RouteError as error:
            return (GateResult(ANSWERS, passed=False, detail=f"it cannot be run: {error}"),)
        with closing(ready) as trial:
            bench = Bench(
                version=case.version,
                trial=trial,
                requests=requests,
                columns=data.columns,
                sample=Sample(data.labels, trial.ask(requests), positive),
                champion=case.champion,
                champion_sample=champion_sample,
                context=declaration.has_context,
                entity=declaration.entity or "",
                features=case.route.features,
            )
            return run(must, bench)

    def standing(self, case: Case, now_us: int) -> Validation | None:
        """The newest validation that holds for exactly this: bytes, gates, data and champion."""
        for one in self._validations.validations(case.version.name, case.version.version):
            data = one.data_sha256 if case.pin is None else case.pin.data_sha256
            same = (
                not one.fresh
                and one.integration == case.integration
                and one.sha256 == case.version.sha256
                and one.gates_sha256 == case.gates_sha256
                and one.data_sha256 == data
            )
            if not same:
                continue
            other = case.champion is not None and one.champion != case.champion.version
            if case.compares and other:
                continue
            # The newest counts: an older one that passed was overtaken by it.
            return one if one.passed and not _expired(one, now_us) else None
        return None

    def admit(self, case: Case, *, by: str, now_us: int) -> Validation:
        """Lets a version in that has passed, and has a second person's consent where it must.

        Runs the gates where nothing is known yet.

        Raises:
            NotPromoted: It did not pass (says which gate, by how much), or waits for consent.
        """
        self.check_artifact(case.version)
        found = self.standing(case, now_us)
        if found is None:
            found = self.validate(case, by=by, now_us=now_us)
        if not found.passed:
            raise refusal(found)
        if case.gates.approver and not self._consented(found, by):
            label = case.version.label
            raise NotPromoted(
                label,
                got=f"its gates for {case.integration} passed, and no second person's consent",
                promised=f"consent of somebody else than {self._not_by(found, by)}",
                mend=f'splice models approve {label} --integration {case.integration} --why "…"',
            )
        return found

    def _consented(self, validation: Validation, by: str) -> bool:
        own = {by, self.registrar(validation.model, validation.version)}
        return any(one.by not in own for one in approvals_of(self._validations, validation))

    def _not_by(self, validation: Validation, by: str) -> str:
        registrar = self.registrar(validation.model, validation.version)
        return " and ".join(dict.fromkeys(name for name in (by, registrar) if name))

    def registrar(self, model: str, version: int) -> str:
        """Who registered a version; empty where nobody knows."""
        return registrar_of(self._audit, model, version)

    def approve(
        self, version: ModelVersion, integration: str | None, *, by: str, why: str, now_us: int
    ) -> list[Approval]:
        """A person's consent to the newest validation of each integration, or of one.

        It is to that validation alone: to these bytes, gates, sources, data, and what was measured.

        Raises:
            NotPromoted: There is none that passed and holds, or that person registered the version.
        """
        if by == self.registrar(version.name, version.version):
            raise NotPromoted(
                version.label, got=f"consent of {by}, who registered it",
                promised="a second person's", mend="ask somebody else",
            )  # fmt: skip
        newest: dict[str, Validation] = {}
        for one in self._validations.validations(version.name, version.version):
            if one.fresh:
                continue  # it renews what somebody consented to
            if one.sha256 == version.sha256 and integration in (None, one.integration):
                newest.setdefault(one.integration, one)
        holds = [one for one in newest.values() if one.passed and not _expired(one, now_us)]
        if not holds:
            only = f" --integration {integration}" if integration else ""
            raise NotPromoted(
                version.label,
                got="no validation that passed and holds",
                promised=f"one for {integration or 'an integration'} to consent to",
                mend=f"splice models validate {version.label}{only}",
            )
        return [self._consent(one, by=by, why=why, now_us=now_us) for one in holds]

    def _consent(self, found: Validation, *, by: str, why: str, now_us: int) -> Approval:
        approval = Approval(
            found.integration, found.model, found.version, found.sha256, found.digest, by, now_us,
            why,
        )  # fmt: skip
        details = {"integration": found.integration, "validation": found.digest}
        self._audit.add_event(
            "model.approve", f"{found.model}@{found.version}", by=by, now_us=now_us, why=why,
            details=details, after={"validation": found.digest, "approved_by": by},
        )  # fmt: skip
        self._validations.add_approval(approval)
        return approval


def _expired(validation: Validation, now_us: int) -> bool:
    return bool(validation.expires_us) and validation.expires_us <= now_us


def _columns(signature: Signature) -> str:
    return ", ".join(f"{one.name} {one.datatype}" for one in signature.inputs)
