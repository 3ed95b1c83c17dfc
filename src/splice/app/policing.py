"""Policing: which detector a policy of a declaration asks, made of settings and plugins."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from splice.app.encoding import encoder_of
from splice.app.plugins import made, names
from splice.app.settings import Settings
from splice.core.errors import SettingsError
from splice.core.policies import PinnedPolicy
from splice.ports.masking import Masker
from splice.ports.policies import Detector, Detectors, Found

_LANGUAGES, _MASKING = "splice-ai[guards]", "splice-ai[masking]"


def detectors_of(settings: Settings, masker: Callable[[tuple[str, ...]], Masker]) -> Detectors:
    """Makes detectors; their libraries are loaded when the first declaration asks for one."""
    encode = encoder_of(settings)

    def make(pinned: PinnedPolicy) -> Detector:
        rule = pinned.rule
        if pinned.kind == "languages":
            return made("detectors", "languages", _LANGUAGES, rule["languages"])
        if pinned.kind == "topics":
            if encode is None:
                raise SettingsError(
                    f"policies.{pinned.name}",
                    got="topics, and no sentence encoder to tell them by",
                    promised="one",
                    mend='set cache.encoder = "packaged" in splice.toml, or name a function in by=',
                )
            from splice.control.topics import Topics

            return Topics(
                encode, rule["topics"], allow=rule.get("allow", ()), deny=rule.get("deny", ()),
                least=rule["least"],
            )  # fmt: skip
        no = str(rule["no"])
        if no != "languages" and no in names("detectors"):
            given = (rule["allow"],) if "allow" in rule else ()
            ours = no in ("injection", "links")
            return made("detectors", no, _MASKING if ours else "", *given)
        rules = masker((no,))
        if no != "secret":
            return ByMasking(rules, no)
        from splice.control.masking_quick import surely_holds_no_secret

        return ByMasking(rules, no, surely_holds_no_secret)

    return make


class ByMasking:
    """A Detector of what a rule of masking finds: secrets, cards, addresses.

    Args:
        masker: Masks by that one rule.
        what: Its name.
        surely: Says of a text that the rule would surely find nothing in it, sooner than it.
    """

    immediate = True
    masks = True
    """What it finds is not recorded either where a policy refuses it."""

    def __init__(
        self, masker: Masker, what: str, surely: Callable[[str], bool] | None = None
    ) -> None:
        self._masker = masker
        self._what = what
        self._placeholder = f"[{what}]".encode()
        self._quick = surely

    def find(self, text: str) -> Found | None:
        """The rule's name, where it finds something.

        Raises:
            SpliceError: It could not look.
        """
        if self._quick is not None and self._quick(text):
            return None
        whole = msgspec.json.encode(text)
        masked = self._masker.mask(whole)
        # It may have shortened a file, too: only what its rule names counts.
        count = masked.count(self._placeholder) - whole.count(self._placeholder)
        return Found(self._what, count) if count > 0 else None

    def redact(self, text: str) -> str:
        """The text with the rule's name in the place of what it finds.

        Raises:
            SpliceError: It could not look.
        """
        if self.find(text) is None:
            return text
        return msgspec.json.decode(self._masker.mask(msgspec.json.encode(text)), type=str)
