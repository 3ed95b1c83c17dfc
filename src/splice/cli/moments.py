"""Options that mean nothing, and moments as people write them: a date, or how long ago."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from splice.app.clock import now_us
from splice.core.errors import DeclarationError, RequestError
from splice.core.units import seconds


class WrongOption(RequestError):
    """An option has a value that means nothing."""

    code = "wrong_option"


def moment_us(text: str, option: str) -> int:
    """Unix microseconds from a date or time (UTC where it names no zone), or from how long ago.

    Raises:
        WrongOption: It is neither.
    """
    try:
        if re.fullmatch(r"\d{4}-\d\d-\d\d.*", text.strip()):
            when = datetime.fromisoformat(text.strip())
            when = when.replace(tzinfo=UTC) if when.tzinfo is None else when
            return int(when.timestamp() * 1e6)
        return now_us() - int(seconds(text, option) * 1e6)
    except (ValueError, DeclarationError):
        raise WrongOption(
            option, got=repr(text[:80]), promised='how long ago ("7 d") or an ISO 8601 date'
        ) from None
