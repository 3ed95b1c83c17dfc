"""The manifest of a declaration: all that a release pins, in one place."""

from __future__ import annotations

from splice.core.release import Manifest, PinnedGates, PinnedHoldout, PinnedRollout, PinnedRoute
from splice.declare.discover import Found
from splice.declare.reading import objective_plain


def manifest_of(
    found: Found,
    routes: tuple[PinnedRoute, ...],
    *,
    gates: tuple[PinnedGates, ...],
    rollout: PinnedRollout | None,
    holdout: PinnedHoldout | None,
) -> Manifest:
    """What a release of it would pin; what the registry and the gates know is given."""
    declaration = found.declaration
    options = declaration.options
    return Manifest(
        integration=declaration.name,
        entry=found.entry,
        bundle=found.bundle.sha256,
        purpose=declaration.purpose,
        risk=str(declaration.risk),
        deadline_s=declaration.deadline_s,
        routes=routes,
        request_schema=declaration.request.schema(),
        reply_schema=declaration.reply.schema(),
        objective=dict(objective_plain(declaration.objective)),
        gates=gates,
        rollout=rollout,
        holdout=holdout,
        profile=options.profile,
        monitors=options.monitors,
        truths=options.truths,
        review=options.review,
        protect=options.protect,
        policies=options.policed.policies,
        assessment=options.assessment,
    )
