"""Languages of texts by py3langid, whose model of 139 languages comes in its package."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Final

from splice.core.errors import SettingsError
from splice.ports.policies import Found

_READ = 10_000  # characters at either end of a text; the middle of a longer one is not read
_SURE: Final = 0.5
_MAYBE: Final = 0.2


class Languages:
    """A Detector of texts in other languages than those allowed.

    A text that is too short to tell ("ok", "thanks") passes: it is refused where another language
    has more than half of the probability, and those allowed together less than a fifth.

    Args:
        allowed: Codes of ISO 639-1 (`en`), or 639-3 where a language has no other.

    Raises:
        ImportError: py3langid is not installed.
        SettingsError: It knows no language of a code.
    """

    immediate = False

    def __init__(self, allowed: Sequence[str]) -> None:
        langid: Any = import_module("py3langid.langid")
        # Its model takes seconds to unpack, and must be there when the first text comes.
        self._identifier: Any = langid.LanguageIdentifier.from_model_file(
            langid.MODEL_FILE, norm_probs=True
        )
        known = set(self._identifier.labels)
        for one in allowed:
            if one not in known:
                raise SettingsError(
                    "policies.languages", got=repr(one), promised="a code such as en, de, fr, zh",
                    mend="write its code of ISO 639-1",
                )  # fmt: skip
        self._allowed = frozenset(allowed)
        self._asking = threading.Lock()

    def find(self, text: str) -> Found | None:
        """The code of the language where it is surely none of those allowed."""
        if len(text) > 2 * _READ:
            text = f"{text[:_READ]}\n{text[-_READ:]}"
        if not any(one.isalpha() for one in text):
            return None
        with self._asking:
            ranked: list[tuple[str, float]] = self._identifier.rank(text)
        language, sure = ranked[0]
        fine = sum(share for code, share in ranked if code in self._allowed)
        if language in self._allowed or sure < _SURE or fine > _MAYBE:
            return None
        return Found(language)

    def redact(self, text: str) -> str:
        """Not to be asked: a language stands in no one place.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError
