"""Compile: a release becomes a line, with its code loaded and its models in memory."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TypeAlias

import msgspec

from splice.core.errors import ModelUnavailable, SettingsError, SpliceError
from splice.core.release import PinnedHoldout, PinnedRollout, PinnedRoute, Release
from splice.core.rollout import CHALLENGER, HOLDOUT, SHADOW
from splice.core.versions import Endpoint
from splice.declare.options import CONVERSATION_RETRIES, Patience
from splice.declare.reading import Declaration
from splice.declare.routes import TimedRoute
from splice.declare.spec import LLM, Model, Rule
from splice.engine.fencing import Fencing
from splice.engine.guarding import guard_of, no_detectors
from splice.engine.line import Arm, Line, Shadowing, Step, line_of
from splice.engine.observe import POOL_PROCESSES, POOL_RESTARTS, Metrics
from splice.engine.routing.balanced import Balanced
from splice.engine.routing.batched import Batched
from splice.engine.routing.breaker import Breaker, Breaking
from splice.engine.routing.hosted import Hosted
from splice.engine.routing.prompted import Prompted
from splice.engine.routing.relayed import Relayed
from splice.engine.routing.ruled import Ruled
from splice.engine.routing.split import Held, Split
from splice.engine.seal import Seal
from splice.engine.veiling import Veiling
from splice.ports.flags import Flags
from splice.ports.hosts import HostedModel, PoolTally, RemoteRuntime
from splice.ports.masking import Masker
from splice.ports.policies import Detectors
from splice.ports.predictor import Predictor
from splice.ports.runtimes import ModelRuntime
from splice.ports.stores import ModelStore

ENDPOINT_BREAKING = Breaking(failures=5, seconds=3.0)
"""An endpoint that failed so often in a row is asked again after so many seconds, by one call."""

_KEYS = {"openai": ", or set OPENAI_API_KEY", "anthropic": ", or set ANTHROPIC_API_KEY"}
"""What also makes a provider of that name: the variables that the vendors' own clients read."""


class Machine(msgspec.Struct, frozen=True):
    """How models run in this process.

    `nano_per_second` prices machine time in billionths of the currency; None where nobody said.
    `local_providers` run on this machine too, and are priced by its time.
    """

    threads: int = 1
    max_batch: int = 64
    nano_per_second: float | None = None
    local_providers: frozenset[str] = frozenset()
    threads_of: Mapping[str, int] = {}  # by model name, where it differs


MakePool: TypeAlias = "Callable[[Path, PinnedRoute], HostedModel]"


class Hosts(msgspec.Struct, frozen=True):
    """Where models run that do not run in this process.

    `remotes` are the runtimes by protocol; `pools` make a worker pool for the models of that name,
    of their file and what is pinned of them; `pickles` makes one for a pickled model without a pool
    of its own, and is None where pickled models are not allowed. `tallies` counts, by model name.
    """

    remotes: Mapping[str, RemoteRuntime] = {}
    pools: Mapping[str, MakePool] = {}
    pickles: MakePool | None = None
    tallies: Mapping[str, PoolTally] = {}


_ModelKey = tuple[str, str, tuple[str, ...], bool]
"""Name, SHA-256, features, and whether it runs aside. Two names may run the same bytes in different
places."""


def _no_masker(rules: tuple[str, ...]) -> Masker:
    raise SettingsError(
        f"log.mask {', '.join(rules)}", got="no masker", mend="install splice-ai[masking]"
    )


class Compiler:
    """Turns releases into lines. A model that several releases use is in memory once."""

    def __init__(
        self,
        models: ModelStore,
        runtimes: Mapping[str, ModelRuntime],
        providers: Mapping[str, Balanced],
        machine: Machine,
        masker: Callable[[tuple[str, ...]], Masker] = _no_masker,
        hosts: Hosts | None = None,
        flags: Flags | None = None,
        detectors: Detectors = no_detectors,
    ) -> None:
        self._detectors = detectors
        self._models = models
        self._runtimes = runtimes
        self._providers = providers
        self._machine = machine
        self._masker = masker
        self._hosts = hosts or Hosts()
        self._flags = flags
        self._loaded: weakref.WeakValueDictionary[_ModelKey, Batched | Hosted] = (
            weakref.WeakValueDictionary()
        )

    def compile(self, release: Release, declaration: Declaration) -> Line:
        """The line. A route whose model cannot be loaded is part of it, marked unavailable.

        Raises:
            SettingsError: It wants texts masked, and the masker cannot be had.
        """
        pairs = zip(release.manifest.routes, declaration.routes, strict=True)
        withdrawn = self._models.withdrawn()
        veiling = Veiling(release.manifest.protect, self._masker, self._machine.local_providers)
        fencing = Fencing(release.manifest.protect, self._machine.local_providers)

        def kept(step: Step) -> Step:
            return veiling.over(fencing.over(step))

        steps = tuple(kept(self._step(pinned, timed, withdrawn)) for pinned, timed in pairs)
        log = declaration.options.recorded
        seal = None
        if log is not None:
            masker = self._masker(log.mask) if log.mask else None
            seal = Seal(log, masker, declaration.options.protect)
        direct = None
        if declaration.options.models:
            direct = veiling.direct(fencing.direct(partial(self._direct, declaration.deadline_s)))
        rollout = release.manifest.rollout

        def ready(pinned: PinnedRoute, *, aside: bool = False) -> Step:
            step = self._variant_step(
                pinned, declaration=declaration, withdrawn=withdrawn, aside=aside
            )
            return kept(step)

        held = _held(release.manifest.holdout, ready)
        split = self._split(rollout, steps, ready, held)
        shadow = None
        if rollout is not None and rollout.shadows:
            shadowed = tuple(ready(one, aside=True) for one in rollout.shadows)
            shadow = Shadowing(shadowed, rollout.shadow_share)
        line = line_of(
            release, declaration, steps, seal=seal, direct=direct, split=split, shadow=shadow
        )
        line.veil = veiling.veil
        line.guard = guard_of(declaration, self._detectors)
        line.simple = line.simple and (line.guard is None or line.guard.immediate)
        return line

    def _split(
        self,
        rollout: PinnedRollout | None,
        own: tuple[Step, ...],
        ready: Callable[[PinnedRoute], Step],
        held: Held | None,
    ) -> Split | None:
        """The variants of a rollout: routes of their own, and behind them those of the release."""
        if rollout is None or not rollout.variants:
            return None if held is None else Split("", own, (), held=held)
        others: list[tuple[Arm, int]] = []
        for variant in rollout.variants:
            steps = tuple(ready(one) for one in variant.routes)
            others.append((Arm(variant.name, (*steps, *own)), variant.share))
        return Split(rollout.salt, own, others, rollout.flag, self._flags, held)

    def _variant_step(
        self,
        pinned: PinnedRoute,
        *,
        declaration: Declaration,
        withdrawn: Mapping[str, str],
        aside: bool = False,
    ) -> Step:
        plan = declaration.plan
        label = pinned.label.removesuffix(f"@{CHALLENGER}").removesuffix(f"@{SHADOW}")
        declared = (*plan.shadow, *plan.challenger) if aside else plan.challenger
        if label.endswith(f"@{HOLDOUT}"):
            label = label.removesuffix(f"@{HOLDOUT}")
            declared = () if plan.holdout is None else plan.holdout.routes
        timed = next((one for one in declared if one.route.label == label), None)
        if pinned.kind == "model":  # a command may have named it, and not the declaration
            ref = f"{pinned.model}@{pinned.model_version}"
            timed = TimedRoute(Model(ref, pinned.features), pinned.timeout_s)
        if timed is None:
            why = f"release without a declared route {pinned.label}"
            return Step(pinned, None, immediate=True, unavailable=why)
        return self._step(
            pinned,
            timed,
            withdrawn,
            conversation=declaration.options.conversation,
            aside=aside,
            apart=True,
        )

    def _direct(self, deadline_s: float, model: str) -> Step:
        """The route to a model that a caller names himself: `provider/model`."""
        provider, _, name = model.partition("/")
        pinned = PinnedRoute(
            label=f"llm:{model}", kind="llm", position=0, timeout_s=deadline_s,
            version=name, model=name, provider=provider,
        )  # fmt: skip
        timed = TimedRoute(LLM(model), deadline_s, patience=Patience(CONVERSATION_RETRIES))
        return self._step(pinned, timed, {}, conversation=True)

    def _step(
        self,
        pinned: PinnedRoute,
        timed: TimedRoute,
        withdrawn: Mapping[str, str],
        *,
        conversation: bool = False,
        aside: bool = False,
        apart: bool = False,
    ) -> Step:
        why = withdrawn.get(pinned.sha256, "") if pinned.sha256 else ""
        quality = timed.route.quality if isinstance(timed.route, LLM) else None
        try:
            predictor, immediate = self._predictor(
                pinned, timed, conversation=conversation, aside=aside, apart=apart
            )
        except SpliceError as error:
            return Step(pinned, None, immediate=True, unavailable=str(error), withdrawn=why)
        return Step(pinned, predictor, immediate, withdrawn=why, quality=quality)

    def _predictor(
        self,
        pinned: PinnedRoute,
        timed: TimedRoute,
        *,
        conversation: bool,
        aside: bool,
        apart: bool,
    ) -> tuple[Predictor, bool]:
        route = timed.route
        if isinstance(route, Rule):
            return Ruled(route.function, aside=aside), not aside
        if isinstance(route, LLM):
            return self._llm(pinned, timed, conversation=conversation, apart=apart), False
        batched = self.model(pinned, aside=aside)
        return batched, batched.immediate

    def _llm(
        self, pinned: PinnedRoute, timed: TimedRoute, *, conversation: bool, apart: bool
    ) -> Predictor:
        balanced = self._providers.get(pinned.provider)
        if balanced is None:
            raise ModelUnavailable(
                pinned.label,
                got=f"no provider {pinned.provider}",
                promised=f"one of {', '.join(self._providers) or 'none configured'}",
                mend=f"add [providers.{pinned.provider}] to splice.toml"
                + _KEYS.get(pinned.provider, ""),
            )
        if apart:
            balanced = balanced.apart()
        local = pinned.provider in self._machine.local_providers
        rate = self._machine.nano_per_second if local else None
        if conversation or timed.output is None or timed.prompt is None:
            return Relayed(balanced, pinned, timed.patience, timed.prompt, rate)
        return Prompted(
            balanced,
            pinned,
            timed.prompt,
            timed.output,
            patience=timed.patience,
            nano_per_second=rate,
        )

    def model(self, pinned: PinnedRoute, *, aside: bool = False) -> Batched | Hosted:
        """The model of a route, in memory or at its host; `aside` runs it in a thread always.

        Raises:
            ModelUnavailable: Its file is gone, or cannot be loaded.
            ModelMismatch: Its features do not fit the signature.
        """
        key = (pinned.model, pinned.sha256, pinned.features, aside)
        found = self._loaded.get(key)
        if found is None:
            hosted = self._hosted(pinned)
            found = self._in_process(pinned, aside=aside) if hosted is None else hosted
            self._loaded[key] = found
        return found

    def _in_process(self, pinned: PinnedRoute, *, aside: bool) -> Batched:
        form = pinned.format or "onnx"
        runtime = self._runtimes.get(form)
        if runtime is None:
            raise ModelUnavailable(
                pinned.label,
                got=f"no runtime for {'ONNX' if form == 'onnx' else form}",
                mend="install splice-ai[onnx]" if form == "onnx" else "",
            )
        threads = self._machine.threads_of.get(pinned.model, self._machine.threads)
        file = self._models.file(pinned.sha256)
        loaded = runtime.load(file, pinned.features, threads=threads)
        return Batched(
            loaded,
            pinned.label,
            max_batch=self._machine.max_batch,
            nano_per_second=self._machine.nano_per_second,
            aside=aside,
            file=file.name,
        )

    def _hosted(self, pinned: PinnedRoute) -> Hosted | None:
        """The model where it runs elsewhere; None where it runs in this process."""
        file = self._models.file(pinned.sha256)
        pool = self._hosts.pools.get(pinned.model)
        if pinned.format == "pickle":
            pool, pinned = self._pickled(pinned, pool)
        model: HostedModel
        rate, breaker, region = self._machine.nano_per_second, None, ""
        if pinned.format == "remote":
            endpoint = _endpoint(file, pinned.label)
            remote = self._hosts.remotes.get(endpoint.protocol)
            if remote is None:
                raise ModelUnavailable(
                    pinned.label,
                    got=f"an endpoint of protocol {endpoint.protocol}",
                    promised=f"one of {', '.join(self._hosts.remotes) or 'none installed'}",
                )
            version = self._models.resolve(pinned.model, str(pinned.model_version))
            signature = None if version is None else version.signature
            model, rate = remote.connect(endpoint, pinned.features, signature), None
            breaker, region = Breaker(ENDPOINT_BREAKING), endpoint.region
        elif pool is not None:
            model = pool(file, pinned)
        else:
            return None
        return Hosted(
            model,
            pinned.label,
            max_batch=self._machine.max_batch,
            nano_per_second=rate,
            breaker=breaker,
            region=region,
        )

    def _pickled(self, pinned: PinnedRoute, pool: MakePool | None) -> tuple[MakePool, PinnedRoute]:
        """The pool of a pickled model, which runs nowhere else, and its features as registered."""
        if self._hosts.pickles is None:
            raise ModelUnavailable(
                pinned.label,
                got="a pickled model, which may run any code when it is loaded",
                mend="convert it to ONNX, or set models.allow_pickle = true in splice.toml",
            )
        version = self._models.resolve(pinned.model, str(pinned.model_version))
        if version is not None and not pinned.features:
            pinned = msgspec.structs.replace(pinned, features=version.signature.features)
        return pool or self._hosts.pickles, pinned

    def observe(self, metrics: Metrics) -> None:
        """Put what the pools count into the metrics."""
        for name, tally in list(self._hosts.tallies.items()):
            metrics.set(POOL_PROCESSES, tally.processes, (name,))
            for reason, count in list(tally.restarts.items()):
                metrics.set(POOL_RESTARTS, count, (name, reason))

    async def close(self) -> None:
        """Let go of every model: of its thread, its processes or its connections."""
        for model in list(self._loaded.values()):
            await model.close()


def _held(pinned: PinnedHoldout | None, ready: Callable[[PinnedRoute], Step]) -> Held | None:
    if pinned is None:
        return None
    return Held(pinned.salt, pinned.share, Arm(HOLDOUT, tuple(map(ready, pinned.routes))))


def _endpoint(file: Path, label: str) -> Endpoint:
    try:
        return msgspec.json.decode(file.read_bytes(), type=Endpoint)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ModelUnavailable(
            label, got=str(error), promised="an endpoint", mend="splice models endpoint"
        ) from None
