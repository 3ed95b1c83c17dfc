"""Overseeing: the review desk of a project, and what a reviewer is shown of a call."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from splice.app.encoding import Encode, encoder_of
from splice.app.explaining import Explaining
from splice.app.settings import Settings
from splice.app.wiring import Services, Stores, masker_of
from splice.control.oversight import Kept, Oversight
from splice.core.call import Record, Status
from splice.core.errors import SpliceError
from splice.core.explanations import Attributions, Similar, route_of
from splice.core.release import Release
from splice.declare.discover import reopen
from splice.declare.reading import Declaration
from splice.ports.reviews import ReviewFilter
from splice.ports.stores import CallFilter
from splice.serve.oversight import Told

_SIMILAR, _HISTORY = 5, 10
_ENCODED = 60
"""Calls whose texts are compared by meaning: a text takes some milliseconds."""

Declared = Callable[[Release], Declaration]


def declared_by(stores: Stores) -> Declared:
    """The declaration of a release, loaded from the sources that it pins; each once."""
    known: dict[tuple[str, str], Declaration] = {}

    def declared(release: Release) -> Declaration:
        key = (release.manifest.bundle, release.manifest.entry)
        if key not in known:
            known[key] = reopen(stores.releases.bundle(key[0]), key[1])
        return known[key]

    return declared


def oversight_of(settings: Settings, stores: Stores, declared: Declared) -> Oversight:
    """Who may decide what, by the declarations that answered."""
    make = masker_of(settings)

    def masked(release: Release, reply: bytes) -> bytes:
        log = declared(release).options.recorded
        return make(log.mask).mask(reply) if log is not None and log.mask else reply

    kept = Kept(stores.reviews, stores.records, stores.releases)
    return Oversight(kept, lambda release: declared(release).reply, masked)


class Explanations:
    """What a reviewer is shown beside the call itself.

    Args:
        settings: Say whether texts can be compared by their meaning.
        stores: The ledger.
        declared: The declaration of a release.
    """

    def __init__(self, settings: Settings, stores: Stores, declared: Declared) -> None:
        self._stores = stores
        self._declared = declared
        self._encode: Encode | None = encoder_of(settings)
        self._explaining = Explaining(stores.models, stores.records)

    def attributions(self, record: Record, wait_s: float = 0.0) -> Attributions | None:
        """What the answer rests on; None while it is worked out."""
        release = self._stores.releases.release(record.integration, record.release)
        return self._explaining.attributions(record, release, wait_s)

    def told(self, record: Record) -> Told | None:
        """What a language model was told; None where none answered."""
        release = self._stores.releases.release(record.integration, record.release)
        route = route_of(release, record.version)
        if release is None or route is None or route.kind != "llm":
            return None
        told = Told(route.version, route.prompt, route.prompt_sha256, route.params)
        try:
            return msgspec.structs.replace(told, messages=self._messages(record, release))
        except (SpliceError, ValueError, TypeError) as error:
            return msgspec.structs.replace(told, why=str(error)[:300])

    def similar(self, record: Record) -> Sequence[Similar]:
        """The nearest earlier calls, with their decisions and outcomes."""
        try:
            from splice.monitor.similar import CANDIDATES, nearest  # numpy is an extra
        except ImportError:
            return ()
        wanted = CallFilter(
            integration=record.integration, status=Status.ANSWERED, limit=CANDIDATES,
            until_us=record.asked_us,
        )  # fmt: skip
        found = [one for one in self._stores.records.find(wanted) if one.shadow_of is None]
        whole = list(self._stores.records.get_many([one.call_id for one in found]).values())
        near = nearest(record, whole, _ENCODED if self._encode else _SIMILAR)
        if self._encode is not None and near:
            near = nearest(record, [one for one, _ in near], _SIMILAR, self._encode)
        return self._with_outcomes(near)

    def history(self, record: Record) -> Sequence[Similar]:
        """The entity's other calls, newest first."""
        if record.entity is None:
            return ()
        wanted = CallFilter(
            integration=record.integration, entity=record.entity, limit=_HISTORY + 1
        )
        found = [one for one in self._stores.records.find(wanted) if one.call_id != record.call_id]
        whole = self._stores.records.get_many([one.call_id for one in found[:_HISTORY]])
        ordered = [whole[one.call_id] for one in found if one.call_id in whole]
        return self._with_outcomes([(one, 0.0) for one in ordered])

    def close(self) -> None:
        """Let go of the process that explains."""
        self._explaining.close()

    def _with_outcomes(self, near: Sequence[tuple[Record, float]]) -> list[Similar]:
        outcomes = self._stores.outcomes.outcomes_of_many([one for one, _ in near])
        return [
            Similar(one, distance, tuple(outcomes.get(one.call_id, ())), self._verdict(one))
            for one, distance in near
        ]

    def _verdict(self, record: Record) -> str:
        wanted = ReviewFilter(call_id=record.call_id, state="decided", limit=1)
        found = self._stores.reviews.reviews(wanted)
        return found[0].verdicts[-1].choice if found else ""

    def _messages(self, record: Record, release: Release) -> tuple[tuple[str, str], ...]:
        """The prompt with its gaps filled from the record, so as the ledger has it: masked."""
        declaration = self._declared(release)
        position = next(
            at for at, one in enumerate(release.manifest.routes) if one.version == record.version
        )
        prompt = declaration.routes[position].prompt
        document: Any = msgspec.json.decode(
            (record.input if record.context is None else record.context) or b"null"
        )
        if prompt is None or declaration.options.conversation:
            turns = msgspec.convert(document, _Turns).messages
            return tuple((one.role, _content(one.content)) for one in turns)
        return tuple((str(role), text) for role, text in prompt.fill(document))


class _Turn(msgspec.Struct):
    role: str = ""
    content: Any = None  # a text, or a list of parts


class _Turns(msgspec.Struct):
    messages: list[_Turn] = []


def _content(content: Any) -> str:
    return content if isinstance(content, str) else msgspec.json.encode(content).decode()


class Overseer:
    """Oversight of the services that a process has now; made when somebody asks for it.

    Args:
        services: Gives them.
    """

    def __init__(self, services: Callable[[], Services]) -> None:
        self._services = services
        self._of: Services | None = None
        self._made: tuple[Oversight, Explanations] | None = None
        self._making = threading.Lock()

    @property
    def oversight(self) -> Oversight:
        """Who may decide what."""
        return self._both()[0]

    @property
    def explanations(self) -> Explanations:
        """What a reviewer is shown."""
        return self._both()[1]

    def close(self) -> None:
        """Let go of what explains."""
        with self._making:
            if self._made is not None:
                self._made[1].close()
            self._made = self._of = None

    def _both(self) -> tuple[Oversight, Explanations]:
        with self._making:
            services = self._services()
            if self._made is None or self._of is not services:
                settings, stores = services.settings, services.stores
                declared = declared_by(stores)
                oversight = oversight_of(settings, stores, declared)
                self._made = oversight, Explanations(settings, stores, declared)
                self._of = services
            return self._made
