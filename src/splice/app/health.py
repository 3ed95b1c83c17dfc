"""What works less well than it should, while calls are answered all the same."""

from __future__ import annotations

from collections import Counter

from splice.app.watch import Watcher
from splice.app.wiring import Services
from splice.core.units import plural


def degraded(services: Services, watcher: Watcher) -> list[str]:
    """One sentence for each thing; empty where all is well."""
    wrong = _troubles(services)
    if services.recorder.trouble:
        wrong.append(f"ledger: {services.recorder.trouble}")
    if services.recorder.spooled:
        wrong.append(f"ledger: {plural(services.recorder.spooled, 'batch', 'batches')} set aside")
    if watcher.trouble:
        wrong.append(f"releases: {watcher.trouble}")
    lines = services.engine.lines
    for name, why in watcher.broken.items():
        if name in lines:
            answering = lines[name].release.number
            wrong.append(f"integration {name}: {why}; release {answering} goes on answering")
    for line in lines.values():
        if line.stopped:
            wrong.append(f"integration {line.name}: stopped: {line.stopped}")
        if line.ended:
            wrong.append(f"integration {line.name}: answers no call: {line.ended}")
        for step in line.every_step:
            why = step.withdrawn or step.unavailable or getattr(step.predictor, "trouble", "")
            if why:
                wrong.append(f"route {step.route.label} of {line.name}: {why}")
    return wrong


def _troubles(services: Services) -> list[str]:
    """What stands beside the ledger and the releases."""
    settings, wrong = services.settings, list[str]()
    for name, provider in settings.providers.items():
        named = [provider.api_key_env, *(one.api_key_env for one in provider.deployments)]
        wrong += [
            f"provider {name}: no environment variable {variable}, so it is asked without a key"
            for variable in named
            if variable and variable not in settings.secrets
        ]
    meter = getattr(services.meter, "trouble", "")
    if meter:
        wrong.append(f"meters: {meter}; calls under a budget or limit are {_unchecked(services)}")
    if services.flags is not None and services.flags.trouble:
        wrong.append(f"flags: {services.flags.trouble}; the shares of rollouts decide")
    wrong += [f"cache: {one}; answers are not kept" for one in services.engine.reuse.troubles()]
    lines = services.engine.lines.values()
    if not services.engine.reuse.has_meanings:
        wrong += [
            f"integration {line.name}: its semantic cache keeps nothing: set cache.encoder"
            for line in lines
            if line.declaration.options.semantic_s is not None
        ]
    counted = Counter(alias for line in lines for alias in line.declaration.options.aliases)
    wrong += [
        (
            f"alias {alias}: {plural(count, 'integration has', 'integrations have')} it; the "
            "first by name answers"
        )
        for alias, count in counted.items()
        if count > 1
    ]
    return wrong


def _unchecked(services: Services) -> str:
    closed = services.settings.meters.when_away == "closed"
    return "refused" if closed else "answered unchecked"
