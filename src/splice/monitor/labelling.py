"""Labelling: outcomes joined with their calls, whichever comes first, and counted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import msgspec

from splice.core.call import Record
from splice.core.release import Manifest
from splice.core.tallies import OTHER, Tally, count_call, count_label, decode, encode
from splice.core.truths import PinnedTruth
from splice.monitor.scoring import scored, told
from splice.ports.labels import Label, LabelStore, NewOutcome, Scored, TallyKey, Turn
from splice.ports.stores import ReleaseStore

_CALLS = 512
_OUTCOMES = 256
MOST_SEGMENTS = 50
"""Values of one field that are told apart; calls of the others are counted together."""

_Found: TypeAlias = "list[tuple[Scored, PinnedTruth]]"


class Truths:
    """The truths that releases declare, read once each: a release never changes."""

    def __init__(self, releases: ReleaseStore) -> None:
        self._releases = releases
        self._of: dict[tuple[str, int], tuple[PinnedTruth, ...]] = {}
        self._seen: dict[str, int] = {}  # integration to the generation that was read

    def of(self, integration: str, number: int) -> tuple[PinnedTruth, ...]:
        """The truths of a release; none where there is no such release."""
        known = self._of.get((integration, number))
        if known is None:
            release = self._releases.release(integration, number)
            if release is None:
                return ()
            known = self._of[integration, number] = truths_in(release.manifest)
        return known

    def refresh(self) -> None:
        """Learn of new releases."""
        for live in self._releases.live():
            if self._seen.get(live.integration) == live.generation:
                continue
            for release in self._releases.releases(live.integration):
                self._of[live.integration, release.number] = truths_in(release.manifest)
            self._seen[live.integration] = live.generation

    def within_s(self) -> dict[tuple[str, str], float]:
        """By integration and outcome, how long before an outcome of an entity its calls may be."""
        found: dict[tuple[str, str], float] = {}
        for (integration, _), truths in self._of.items():
            for truth in truths:
                key = (integration, truth.outcome)
                found[key] = max(found.get(key, 0.0), truth.within_s)
        return found


def truths_in(manifest: Manifest) -> tuple[PinnedTruth, ...]:
    """The truths of a release; one that names no segments has those of the profiles."""
    fields = () if manifest.profile is None else manifest.profile.segments
    return tuple(
        msgspec.structs.replace(one, segments=one.segments or fields) for one in manifest.truths
    )


class _Batch(msgspec.Struct):
    """Calls whose labels are made anew, and outcomes that are joined by that, or up to a call."""

    found: _Found = []
    done: list[NewOutcome] = []
    paged: list[tuple[NewOutcome, tuple[int, str]]] = []


class Labeller:
    """Joins what waits. Two at once, or one that is killed in the middle, count nothing twice."""

    def __init__(self, labels: LabelStore, releases: ReleaseStore) -> None:
        self._labels = labels
        self._truths = Truths(releases)

    def step(self, now_us: int) -> bool:
        """Joins some of what waits; says whether there is more."""
        self._truths.refresh()
        more_calls = self._calls(now_us)
        return self._outcomes(now_us) or more_calls

    def catch_up(self, now_us: int) -> None:
        """Joins all that waits."""
        while self.step(now_us):
            pass

    def _calls(self, now_us: int) -> bool:
        new = self._labels.new_calls(_CALLS)
        if new is None:
            return False
        found = self._scored(new.records)
        with self._labels.turn() as turn:
            if not turn.drop_calls(new):
                return True
            counted = _Counted(turn)
            found = counted.with_segments(found)
            for one, truth in found:
                for key in _keys(one):
                    count_call(counted.asked(key), truth, one.score, one.predicted)
            turn.put_shadows([one for one, _ in found])
            counted.label(found, now_us)
            counted.store()
        return True

    def _outcomes(self, now_us: int) -> bool:
        news = self._labels.new_outcomes(now_us, _OUTCOMES)
        if not news:
            return False
        within_s = self._truths.within_s()
        of_truths = [one for one in news if _name(one) in within_s]
        batch = _Batch(done=[one for one in news if _name(one) not in within_s])
        named = [one for one in of_truths if one.outcome.call_id is not None]
        batch.done += named
        names = {_name(one) for one in named}
        batch.found += self._scored(self._labels.calls_named(named), names)
        for one in of_truths:
            if one.outcome.call_id is not None:
                continue
            records = self._labels.calls_of_entity(one, within_s[_name(one)], _CALLS)
            batch.found += self._scored(records, {_name(one)})
            if len(records) == _CALLS:  # the others in a later step
                batch.paged.append((one, (records[-1].asked_us, records[-1].call_id)))
            else:
                batch.done.append(one)
            if len(batch.found) >= _CALLS:
                self._join(batch, now_us)
                batch = _Batch()
        self._join(batch, now_us)
        return True

    def _join(self, batch: _Batch, now_us: int) -> None:
        """Make the labels of these calls, and note which outcomes are joined, or how far."""
        if batch == _Batch():
            return
        # Two outcomes may be about one call, whose label is made of both: it must be made once.
        once = {(one.call_id, one.outcome): (one, truth) for one, truth in batch.found}
        with self._labels.turn() as turn:
            # One that another took meanwhile does no harm: a label is made of all its outcomes.
            turn.drop_outcomes(batch.done)
            for new, after in batch.paged:
                turn.note_outcome(new, after)
            counted = _Counted(turn)
            counted.label(counted.with_segments(list(once.values())), now_us)
            counted.store()

    def _scored(
        self, records: Iterable[Record], names: set[tuple[str, str]] | None = None
    ) -> _Found:
        """What the calls foretold of their truths, or of those of these names only."""
        found: _Found = []
        for record in records:
            for truth in self._truths.of(record.integration, record.release):
                if names is None or (record.integration, truth.outcome) in names:
                    one = scored(record, truth)
                    if one is not None:
                        found.append((one, truth))
        return found


class _Counted:
    """The tallies that one turn changes, each read and written once."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._asked: dict[TallyKey, Tally] = {}
        self._told: dict[TallyKey, Tally] = {}
        self._segments: dict[tuple[str, str], set[str]] = {}

    def asked(self, key: TallyKey) -> Tally:
        """The tally of answered calls of a key."""
        return self._read(key)[0]

    def with_segments(self, found: _Found) -> _Found:
        """The same, with rare values of a segment's field told apart no more."""
        for name in {(one.integration, one.outcome) for one, _ in found if one.segments}:
            known = self._segments[name] = self._turn.segments(*name)
            before = set(known)
            counts: dict[str, int] = {}
            for segment in known:
                field = segment.partition("=")[0]
                counts[field] = counts.get(field, 0) + 1
            for one, _ in found:
                if (one.integration, one.outcome) != name:
                    continue
                for segment in one.segments:
                    field = segment.partition("=")[0]
                    if segment not in known and counts.get(field, 0) >= MOST_SEGMENTS:
                        segment = f"{field}={OTHER}"
                    if segment not in known:
                        known.add(segment)
                        counts[field] = counts.get(field, 0) + 1
            self._turn.put_segments(*name, known - before)
        return [(self._known(one), truth) for one, truth in found]

    def _known(self, one: Scored) -> Scored:
        if not one.segments:
            return one
        known = self._segments[one.integration, one.outcome]
        segments = tuple(
            segment if segment in known else f"{segment.partition('=')[0]}={OTHER}"
            for segment in one.segments
        )
        return msgspec.structs.replace(one, segments=segments)

    def label(self, found: _Found, now_us: int) -> None:
        """Make the labels of these calls by all outcomes that they have, and count what is new."""
        if not found:
            return
        within_s: Mapping[str, float] = {}
        for _, truth in found:
            within_s = {
                **within_s,
                truth.outcome: max(within_s.get(truth.outcome, 0.0), truth.within_s),
            }
        outcomes = self._turn.outcomes_of([one for one, _ in found], within_s, now_us)
        before = self._turn.labels_of([call_id for call_id, _ in outcomes])
        new: list[Label] = []
        anew: dict[TallyKey, PinnedTruth] = {}
        for one, truth in found:
            until_us = one.asked_us + round(truth.within_s * 1e6)
            mine = [
                outcome
                for outcome in outcomes.get((one.call_id, one.outcome), ())
                if outcome.call_id is not None or outcome.at_us <= until_us
            ]
            if not mine:
                continue
            value, said = told(truth, one.predicted, mine)
            label = Label(one, value, mine[-1].at_us, said)
            old = before.get((one.call_id, one.outcome))
            if old is not None and (old.value, old.at_us, old.said) == (value, label.at_us, said):
                continue
            new.append(label)
            for key in _keys(one):
                if not self._count(key, truth, label, old):
                    anew[key] = truth
        self._turn.put_labels(new)
        for key, truth in anew.items():
            self._count_anew(key, truth)

    def store(self) -> None:
        """Write what changed."""
        read = self._turn.tallies(self._asked)
        for key, tallied in read.items():
            tallied.asked = encode(self._asked[key])
            tallied.told = encode(self._told[key])
        self._turn.put_tallies(list(read.values()))

    def _count(self, key: TallyKey, truth: PinnedTruth, new: Label, old: Label | None) -> bool:
        tally = self._read(key)[1]
        if old is not None:
            foretold = (old.scored.score, old.scored.predicted)
            if not count_label(tally, truth, foretold, old.value, -1):
                return False
            tally.contradicted -= old.said > 1
        count_label(tally, truth, (new.scored.score, new.scored.predicted), new.value)
        tally.contradicted += new.said > 1
        return True

    def _count_anew(self, key: TallyKey, truth: PinnedTruth) -> None:
        tally = self._told[key] = Tally()
        for label in self._turn.labels_in(key):
            if key.segment and key.segment not in label.scored.segments:
                continue
            count_label(tally, truth, (label.scored.score, label.scored.predicted), label.value)
            tally.contradicted += label.said > 1

    def _read(self, key: TallyKey) -> tuple[Tally, Tally]:
        if key not in self._asked:
            stored = self._turn.tallies([key])[key]
            self._asked[key], self._told[key] = decode(stored.asked), decode(stored.told)
        return self._asked[key], self._told[key]


def _keys(one: Scored) -> Sequence[TallyKey]:
    """What a call is counted under: all calls, and its segments."""
    return [
        TallyKey(one.integration, one.outcome, one.start_s, one.release, one.variant, segment)
        for segment in ("", *dict.fromkeys(one.segments))
    ]


def _name(new: NewOutcome) -> tuple[str, str]:
    return new.outcome.integration, new.outcome.name
