"""`splice.Protect`: how personal data is masked, encrypted, kept, and where it may go."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, cast

import msgspec

from splice.core.errors import DeclarationError
from splice.core.protection import PinnedProtection
from splice.core.units import seconds

Wrong = Callable[[str, str, str, str], None]

_RULE = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_PATH = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*){0,7}")
_REGION = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


class Protect(msgspec.Struct, frozen=True, kw_only=True):
    """How personal data is masked, encrypted, kept, and where it may go.

    Attributes:
        mask: Rules such as `"email"`, or `"all"`; see `splice.Log`. What they find is taken out of
            what leaves this machine and put back into what comes, so that a provider sees
            placeholders and the caller sees his values. The ledger keeps neither, unless it is
            encrypted. It fails closed: a route that cannot be masked for is not asked.
        files: Let images, sound and other files through to providers although no rule can look into
            them. Left out, a call with a file is not put to a provider that what it says is masked
            for.
        subject: Path in the request to the person whom a call is about: `"customer.id"`. Left out,
            it is the entity.
        encrypt: Keep the texts of a call enciphered, with a key for each subject.
        keep: How long the texts of a call are kept: `"400 d"`.
        regions: Where texts may go: `("eu",)`. A route to a provider elsewhere is refused.
    """

    mask: Sequence[str] = ()
    files: bool = False
    subject: str = ""
    encrypt: bool = False
    keep: str | float | None = None
    regions: Sequence[str] = ()


def read_protect(given: Any, wrong: Wrong, entity: str | None = None) -> PinnedProtection | None:
    """What is pinned of it; notes what is wrong with it. `entity` is a field's name."""
    if given is None:
        return None
    if not isinstance(given, Protect):
        wrong(
            "protect", type(given).__name__, "a splice.Protect", "write protect = splice.Protect(…)"
        )
        return None
    subject: Any = given.subject
    if not isinstance(subject, str) or (subject and not _PATH.fullmatch(subject)):
        wrong(
            "protect", f"subject={subject!r}", "names of fields, with dots between them",
            'write subject="customer.id"',
        )  # fmt: skip
        subject = ""
    return PinnedProtection(
        mask=_words("mask", given.mask, _RULE, 'write mask=("email", "phone")', wrong),
        files=bool(given.files),
        subject=subject,
        encrypt=bool(given.encrypt),
        keep_s=_kept(given.keep, wrong),
        regions=_words("regions", given.regions, _REGION, 'write regions=("eu",)', wrong),
        entity=entity if given.encrypt and entity else "",
    )


def _words(
    field: str, given: Any, form: re.Pattern[str], mend: str, wrong: Wrong
) -> tuple[str, ...]:
    if isinstance(given, (list, tuple)):
        words = cast("Sequence[Any]", given)
        if all(isinstance(one, str) and form.fullmatch(one) for one in words):
            return tuple(dict.fromkeys(words)) or ()
    wrong("protect", f"{field}={given!r}"[:120], "names in brackets", mend)
    return ()


def _kept(given: Any, wrong: Wrong) -> float | None:
    if given is None:
        return None
    try:
        return seconds(given, "keep")
    except DeclarationError as error:
        wrong("protect", f"keep={error.got}", error.promised, error.mend)
        return None


def recorded_rules(log_mask: Sequence[str], protection: PinnedProtection | None) -> tuple[str, ...]:
    """What is masked in the ledger: what the log names, and what is kept from providers.

    Where the ledger is encrypted, what was kept from providers stands in it enciphered.
    """
    if protection is None or protection.encrypt:
        return tuple(log_mask)
    return tuple(dict.fromkeys((*log_mask, *protection.mask)))
