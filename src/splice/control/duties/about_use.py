"""Queries about how it is used and overseen: Art. 12, 14, 15, 19, 27, 72 and 73."""

from __future__ import annotations

from splice.control.duties.about_models import day_of
from splice.control.duties.known import DAY_US, YEAR_US, Known, digest_of
from splice.core.evidence import Answer, Proof, done, gap
from splice.core.units import plural
from splice.ports.reviews import ReviewFilter

_SIX_MONTHS_DAYS = 183
_WEEK_US = 7 * DAY_US


def calls_recorded(known: Known) -> Answer:
    """Calls of the last year."""
    days = known.days
    calls = sum(one.calls for one in days)
    promise = (
        "before the answer"
        if known.manifest.risk == "high"
        else "within the flush interval, for the declared risk is not high"
    )
    tests = (
        Proof(
            "test", "tests/serve/test_kill.py", command="python -m pytest tests/serve/test_kill.py"
        ),
    )
    if not calls:
        return gap(
            "No call was recorded in the last year", "let it answer calls", known.release_proof()
        )
    said = (
        f"{plural(calls, 'call')} of the last year since "
        f"{day_of(days[0].start_s * 1_000_000)}, {promise}"
    )
    return done(said, known.figure_proof("calls by day"), *tests)


def audit_whole(known: Known) -> Answer:
    """The chain of the audit log, from its first event on."""
    found = known.chain()
    if found.broken is not None:
        return gap(
            f"Event {found.broken.number} does not hold: it, or one before it, was changed",
            "splice audit verify, and find out who wrote to the database",
            known.event_proof(found.broken),
        )
    if not found.count:
        return gap("The audit log is empty", "splice release apply")
    proof = Proof("event", f"audit event {found.count}", found.last, "splice audit verify")
    which = f"The first {found.count}" if found.more else f"{found.count}"
    return done(f"{which} events hold; the last of them has the hash {found.last[:16]}", proof)


def biometric_fields(known: Known) -> Answer:
    """The fields of Art. 12(3), for remote biometric identification only."""
    if known.manifest.review is None:
        return gap(
            "Nobody verifies what it finds: Art. 14(5) wants two persons",
            "declare review = splice.Review(…, four_eyes=True)", known.release_proof(),
        )  # fmt: skip
    return done(
        "Records hold when the call began and how long it took, what was gathered and from where, "
        "the input, and who reviewed it",
        known.release_proof(),
    )


def logs_kept(known: Known) -> Answer:
    """How long calls can be read."""
    protect = known.manifest.protect
    shortest = None if protect is None or protect.keep_s is None else protect.keep_s / 86_400
    setting = Proof("setting", "[ledger] keep", command="splice.toml")
    if known.terms.kept_days is not None:
        setting = Proof(
            "setting", f"[ledger] keep = {known.terms.kept_days:g} d", command="splice.toml"
        )
    if shortest is not None and shortest < _SIX_MONTHS_DAYS:
        return gap(
            f"The texts of calls are dropped after {shortest:g} days; that it was asked, when, and "
            "what was decided of it stays",
            "lengthen keep of splice.Protect, or attest that other law wants it shorter",
            known.release_proof(),
        )
    moved = "" if known.terms.kept_days is None else ", at last in the files of the archive"
    return done(f"Calls are kept for good{moved}", setting)


def reviews_done(known: Known) -> Answer:
    """Whether people look at calls."""
    declared = known.manifest.review
    found = known.shelves.reviews.reviews(
        ReviewFilter(integrations=(known.integration,), since_us=known.now_us - YEAR_US, limit=500)
    )
    if declared is None and not found:
        return gap(
            "No call is sent to a person",
            "declare review = splice.Review(…): which calls, by whom, how soon",
            known.release_proof(),
        )
    decided = [one for one in found if one.verdict is not None]
    overridden = sum(1 for one in decided if one.verdict and one.verdict.choice == "override")
    late = sum(1 for one in found if one.overdue(known.now_us))
    if not decided:
        return gap(
            f"{plural(len(found), 'call was', 'calls were')} sent to a person in the last "
            "year, and none was decided",
            "decide them in the console, or splice reviews list", known.release_proof(),
        )  # fmt: skip
    people = len({one.verdict.by for one in decided if one.verdict})
    newest = max(decided, key=lambda one: one.decided_us)
    said = (
        f"{len(decided)} of {len(found)} reviews of the last year were decided by {people} "
        f"{'person' if people == 1 else 'persons'}, {overridden} of them overrode the decision"
    )
    if late:
        said += f"; {late} are late"
    proof = Proof(
        "review", newest.id, digest_of(newest), f"splice reviews show {newest.id}", "",
        newest.decided_us,
    )  # fmt: skip
    return done(said, proof, known.release_proof())


def stop_tried(known: Known) -> Answer:
    """Whether it was switched off once in the last year."""
    last = known.changes.stop
    test = Proof("test", "tests/serve/test_releases_live.py")
    if last is None or last.at_us < known.now_us - YEAR_US:
        return gap(
            "It was not switched off in the last year",
            f'try it: splice stop {known.integration} --why "drill", then splice start '
            f"{known.integration}",
            test,
        )
    return done(
        f"Switched off on {day_of(last.at_us)} by {last.by}: {last.why}",
        known.event_proof(last), test,
    )  # fmt: skip


def monitors_declared(known: Known) -> Answer:
    """Which monitors there are."""
    monitors = known.manifest.monitors
    if not monitors:
        return gap("No monitor is declared", "declare monitors", known.release_proof())
    names = ", ".join(one.name for one in monitors)
    return done(f"{plural(len(monitors), 'monitor')}: {names}", known.release_proof())


def monitors_running(known: Known) -> Answer:
    """Whether monitors looked at it lately."""
    if (answer := monitors_declared(known)).state == "gap":
        return answer
    fresh = {one.monitor: one for one in known.findings if one.at_us >= known.now_us - _WEEK_US}
    silent = [one.name for one in known.manifest.monitors if one.name not in fresh]
    blind = [one.monitor for one in fresh.values() if one.state == "cannot tell"]
    proofs = tuple(known.finding_proof(one) for one in fresh.values())
    if silent or blind:
        said = [f"not asked in the last week: {', '.join(silent)}"] if silent else []
        said += [f"cannot tell: {', '.join(blind)}"] if blind else []
        todo = f"let splice serve run, and see splice monitors show {known.integration}"
        return gap("; ".join(said), todo, *proofs)
    firing = sum(1 for one in fresh.values() if one.state == "firing")
    return done(
        f"{plural(len(fresh), 'monitor was', 'monitors were')} asked in the last week, "
        f"{firing} fire",
        *proofs,
    )


def drift_watched(known: Known) -> Answer:
    """Whether a monitor watches drift."""
    named = [one.name for one in known.manifest.monitors if one.kind == "drift"]
    if not named:
        return gap(
            "No monitor watches drift", 'declare splice.Monitor(drift="psi", above=0.25)',
            known.release_proof(),
        )  # fmt: skip
    proofs = [known.finding_proof(one) for one in known.findings if one.monitor in named]
    return done(f"Watched by {', '.join(named)}", *proofs, known.release_proof())


def truth_measured(known: Known) -> Answer:
    """Whether what really happened comes back."""
    truths = known.manifest.truths
    if not truths:
        return gap(
            "It says no outcome that tells whether it was right",
            "declare truth = splice.Truth(…), and report outcomes", known.release_proof(),
        )  # fmt: skip
    told = {one.outcome: known.told(one.outcome) for one in truths}
    silent = [name for name, labels in told.items() if not labels]
    if silent:
        return gap(
            f"No outcome of the last 90 days is known of {', '.join(silent)}",
            "report outcomes: splice outcomes, or POST …/outcomes", known.release_proof(),
        )  # fmt: skip
    page = f"/integrations/{known.integration}/accuracy"
    proof = Proof("figure", "accuracy", command=f"splice accuracy {known.integration}", page=page)
    counted = ", ".join(f"{plural(labels, 'outcome')} of {name}" for name, labels in told.items())
    return done(f"Measured against {counted} of the last 90 days", proof)


def fallback_there(known: Known) -> Answer:
    """Whether another route answers when one fails."""
    routes = known.manifest.routes
    local = any(one.kind == "rule" for one in routes)
    if len(routes) < 2:
        return gap("There is one route only", "add a splice.Rule at the end", known.release_proof())
    said = " then ".join(one.label for one in routes)
    return done(said + ("; the last needs no network" if local else ""), known.release_proof())


def policies_declared(known: Known) -> Answer:
    """Which policies there are."""
    policies = known.manifest.policies
    if not policies:
        return gap(
            "No policy bounds what goes in or out", "declare policies", known.release_proof()
        )
    named = ", ".join(f"{one.name} ({one.version})" for one in policies)
    return done(f"{plural(len(policies), 'policy', 'policies')}: {named}", known.release_proof())


def incidents_reported(known: Known) -> Answer:
    """Whether a clock ran out."""
    late = [one for one in known.incidents if one.is_open and one.left_us(known.now_us) < 0]
    proofs = tuple(
        Proof(
            "incident", one.id, digest_of(one), f"splice incidents show {one.id}",
            f"/integrations/{known.integration}/duties", one.opened_us,
        )
        for one in known.incidents[:10]
    )  # fmt: skip
    if late:
        return gap(
            f"{len(late)} past their clock without a report: {', '.join(one.id for one in late)}",
            f"splice incidents report {late[0].id} --reference NUMBER", *proofs,
        )  # fmt: skip
    open_ = sum(1 for one in known.incidents if one.is_open)
    return done(
        f"{plural(len(known.incidents), 'incident')}, {open_} of them open, none late", *proofs
    )


def use_counted(known: Known) -> Answer:
    """How long and how often it is used, by the ledger."""
    days = known.days
    calls = sum(one.calls for one in days)
    if not calls:
        return gap("It was not used yet", "say how it will be used, and look again later")
    first, last = days[0].start_s, days[-1].start_s
    span = (last - first) // 86_400 + 1
    return done(
        f"{plural(calls, 'call')} on {len({one.start_s for one in days})} of {span} days, from "
        f"{day_of(first * 1_000_000)} to {day_of(last * 1_000_000)}",
        known.figure_proof("calls by day"),
    )


def affected_told(known: Known) -> Answer:
    """Whom it decides on, as the declaration says."""
    said = known.said.affected
    if not said:
        return gap(
            "The declaration does not say who is affected",
            "write affected=… in splice.Assessment", known.release_proof(),
        )  # fmt: skip
    profile = known.manifest.profile
    groups = () if profile is None else profile.segments
    more = f"; told apart by {', '.join(groups)}" if groups else "; no groups are told apart"
    return done(said.rstrip(".") + more, known.release_proof())


def checkpoints_signed(known: Known) -> Answer:
    """Signed heads over calls and audit events, not older than two days."""
    newest = known.shelves.checkpoints.newest_head()
    if newest is None:
        return gap(
            "There is no signed head of calls and audit events",
            "splice audit init makes a key; splice serve signs from then on",
        )
    head = newest.head
    proof = Proof(
        "checkpoint", f"head {head.number} of {head.origin}", newest.sha256,
        "splice audit verify", "", head.at_us,
    )  # fmt: skip
    said = (
        f"Head {head.number} of {day_of(head.at_us)} is over "
        f"{plural(head.calls, 'call')} and {plural(head.events, 'audit event')}, "
        f"signed by {newest.name}"
    )
    if head.at_us < known.now_us - 2 * DAY_US and known.shelves.checkpoints.waiting():
        return gap(
            f"{said}; it is older than two days, and calls came since", "splice serve", proof
        )
    return done(said, proof)
