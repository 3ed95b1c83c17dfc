"""What secrets look like: the patterns of keys and tokens, and what tells them from plain words."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from splice.control.masking_numbers import begins, ends

_NAMES = (
    r"pass(?:word|wd|phrase|code)|pwd|passwort|kennwort|contrasena|mot de passe"
    r"|secret(?:[_ -]?key)?|api[_ -]?key|private[_ -]?key|access[_ -]?key"
    r"|(?:access|auth|refresh|bearer|api|session|id)[_ -]?token|client[_ -]?secret"
)

_PREFIXES = (
    rb"sk-|[sr]k_(?:live|test)_|whsec_|gh[pousr]_|github_pat_|glpat-|xox[abeoprs]-|xapp-|hf_|npm_"
    rb"|pypi-|gsk_|dop_v1_|shp(?:at|ca|pa|ss)_|SG\.|ya29\.|AIza|lin_api_|sntrys_|pplx-|r8_|tvly-"
    rb"|vc[ipr]_|ATATT3|AGE-SECRET-KEY-1"
)

SECRETS: Final[dict[str, bytes]] = {
    # To its end line, or to the end of the string where that is cut off.
    "block": rb"(?s)-----BEGIN [A-Z0-9 ]+-----[^\x1e]*?(?:-----END [A-Z0-9 ]+-----|\x1e|\z)",
    "jwt": rb"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?",
    "prefixed": rb"(?:" + _PREFIXES + rb")[A-Za-z0-9_.-]{16,}",
    "aws": rb"(?:AKIA|ASIA)[A-Z0-9]{16}",
    "bearer": rb"(?i)bearer[ \t]+([A-Za-z0-9._~+/=-]{8,})",
    "basic": rb"(?i)authorization[\"' \t:=]+basic[ \t]+([A-Za-z0-9+/=]{8,})",
    "assigned": (
        rb"(?i)(?:" + _NAMES.encode() + rb")[\"']?[ \t]*(?:=|:=|:|=>)[ \t]*"
        rb"(\"(?:[^\"\\\x1e\n]|\\[^\x1e\n])+\"|'[^'\x1e\n]+'|[^\s\x1e\"',;&<>(){}]+)"
    ),
    "in_url": rb"[a-z][a-z0-9+.-]*://[^/\s\x1e:@]*:([^/\s\x1e@]+)@",
}
"""Kind to pattern; the first group is the secret, or all of it where there is none."""

HINT: Final = (
    rb"-----BEGIN |eyJ|AKIA|ASIA|://|"
    + _PREFIXES
    + rb"|(?i:bearer|basic|"
    + _NAMES.encode()
    + rb")"
)
"""What every secret begins with, or has before it."""

_KEY = re.compile(rf"(?:.*[_. -])?(?:{_NAMES}|authorization|credentials?|x-api-key)", re.IGNORECASE)


def is_secret(kind: str, text: str, whole: int, start: int, end: int) -> bool:
    """Whether a match is one.

    Args:
        kind: Which of the patterns matched.
        text: What was searched.
        whole: Where the match begins.
        start: Where the secret itself begins.
        end: Where it ends.
    """
    found = text[start:end]
    if kind in ("prefixed", "aws", "jwt"):
        alone = begins(text, whole) and ends(text, end)
        return alone and any(one.isdigit() for one in found)
    if kind == "bearer":
        return any(one.isdigit() for one in found) or len(found) >= 24
    if kind == "assigned":
        return _is_value(text[whole:start], found)
    return True


def _is_value(before: str, found: str) -> bool:
    """After a colon stands as often a word of a sentence as a password."""
    if len(found) < 3:
        return False
    if "=" in before or found[0] in "\"'":
        return True
    return len(found) >= 6 and not found.rstrip(".,!?").isalpha()


def names_secret(key: str) -> bool:
    """Whether the value of a field of this name is a secret whatever it looks like."""
    return len(key) <= 64 and _is_secret_name(key)


@lru_cache(4096)  # documents have the same fields again and again
def _is_secret_name(key: str) -> bool:
    return _KEY.fullmatch(key) is not None
