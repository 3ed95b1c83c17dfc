"""What a surface of reviews needs of the process behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from splice.control.oversight import Oversight
from splice.core.call import Record
from splice.core.explanations import Attributions, Similar


class Told(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a language model was told, as the ledger has it: what is masked there is masked here.

    `messages` are role and text; `why` says why they cannot be shown.
    """

    version: str
    prompt: str = ""
    prompt_sha256: str = ""
    params: dict[str, Any] = {}  # JSON values
    messages: tuple[tuple[str, str], ...] = ()
    why: str = ""


class Explains(Protocol):
    """What is known of an answer beside its record. All of it blocks."""

    def attributions(self, record: Record, wait_s: float = 0.0) -> Attributions | None:
        """What the answer rests on; None while it is worked out."""
        ...

    def told(self, record: Record) -> Told | None:
        """What a language model was told; None where none answered."""
        ...

    def similar(self, record: Record) -> Sequence[Similar]:
        """The nearest earlier calls, with their decisions and outcomes."""
        ...

    def history(self, record: Record) -> Sequence[Similar]:
        """The entity's other calls, newest first."""
        ...


class Overseer(Protocol):
    """Oversight of one process."""

    @property
    def oversight(self) -> Oversight:
        """Who may decide what."""
        ...

    @property
    def explanations(self) -> Explains:
        """What a reviewer is shown."""
        ...
