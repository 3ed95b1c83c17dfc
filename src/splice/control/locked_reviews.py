"""Reviews with locks: what a person wrote of an encrypted call is enciphered for whom it is about.

A corrected decision holds what the decision held. Destroying the key of a person makes it as
unreadable as the call.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable

import msgspec

from splice.control.envelopes import is_envelope, owner_of
from splice.control.locks import Locks
from splice.core.call import Record
from splice.core.erasure import UNREADABLE, erased_note
from splice.core.errors import StoreError
from splice.core.reviews import Review, Verdict
from splice.core.vault_errors import KeyGone, KeyMissing
from splice.ports.reviews import ReviewFilter, ReviewStore, Said

log = logging.getLogger("splice.encryption")

_MARK = "locked:"


def is_locked(text: str) -> bool:
    """Whether a note is enciphered."""
    return text.startswith(_MARK)


class _Words(msgspec.Struct, array_like=True, frozen=True):
    """What is enciphered. The order is the format: add at the end only."""

    reply: str
    note: str


_words = msgspec.msgpack.Decoder(_Words).decode


class LockedReviews:
    """A ReviewStore with locks; `reviews` is the one within.

    Args:
        reviews: Holds them.
        stored: A call as it is stored, by its id: its envelope says whose it is.
        locks: Those of records.
    """

    def __init__(
        self, reviews: ReviewStore, stored: Callable[[str], Record | None], locks: Locks
    ) -> None:
        self._reviews = reviews
        self._stored = stored
        self._locks = locks
        self.open_reviews = reviews.open_reviews
        self.expire = reviews.expire
        self.waiting = reviews.waiting

    def review(self, review_id: str) -> Review | None:
        """One review, or None."""
        found = self._reviews.review(review_id)
        return None if found is None else self._opened(found)

    def reviews(self, wanted: ReviewFilter) -> list[Review]:
        """Those that a filter lets through."""
        return list(map(self._opened, self._reviews.reviews(wanted)))

    def claim_review(self, review_id: str, by: str, now_us: int, lease_us: int) -> Review:
        """Hold it for a while, so that two people do not look at the same."""
        return self._opened(self._reviews.claim_review(review_id, by, now_us, lease_us))

    def let_go_review(self, review_id: str, by: str) -> Review:
        """Hold it no longer; nothing where another holds it."""
        return self._opened(self._reviews.let_go_review(review_id, by))

    def judge(self, review_id: str, said: Said) -> Review:
        """Store a verdict, its audit event and its outcome at once."""
        return self._opened(self._reviews.judge(review_id, self._locked(review_id, said)))

    def look_again(
        self, review_id: str, *, by: str, why: str, now_us: int, where: str = ""
    ) -> Review:
        """A new review of the call of a decided or expired one, with its audit event."""
        return self._reviews.look_again(review_id, by=by, why=why, now_us=now_us, where=where)

    def _locked(self, review_id: str, said: Said) -> Said:
        verdict = said.verdict
        if not verdict.reply and not verdict.note:
            return said
        review = self._reviews.review(review_id)
        record = None if review is None else self._stored(review.call_id)
        if review is None or record is None or not is_envelope(record.locked):
            return said
        tag, _ = owner_of(record.locked)
        chain = self._locks.keychain()
        place = b"review " + review.call_id.encode()
        texts = [_Words(verdict.reply, ""), _Words("", verdict.note)]
        # Alike: of two pairs of eyes, the store must see whether they say the same.
        sealed = chain.seal([((tag, review.integration), one, place) for one in texts], alike=True)
        reply, note = (_MARK + base64.b64encode(one).decode() for one in sealed)
        hidden = msgspec.structs.replace(
            verdict, reply=msgspec.json.encode(reply).decode() if verdict.reply else "",
            note=note if verdict.note else "",
        )  # fmt: skip
        return msgspec.structs.replace(said, verdict=hidden)

    def _opened(self, review: Review) -> Review:
        if not any(_MARK in one.reply or is_locked(one.note) for one in review.verdicts):
            return review
        verdicts = tuple(self._read(review, one) for one in review.verdicts)
        return msgspec.structs.replace(review, verdicts=verdicts)

    def _read(self, review: Review, one: Verdict) -> Verdict:
        reply, note = one.reply, one.note
        if reply.startswith(f'"{_MARK}'):
            words = self._words(review, msgspec.json.decode(reply, type=str))
            reply = msgspec.json.encode(words).decode() if isinstance(words, str) else words.reply
        if is_locked(note):
            words = self._words(review, note)
            note = words if isinstance(words, str) else words.note
        return msgspec.structs.replace(one, reply=reply, note=note)

    def _words(self, review: Review, text: str) -> _Words | str:
        """What stands there; or in words why nobody can read it."""
        place = b"review " + review.call_id.encode()
        try:
            envelope = base64.b64decode(text.removeprefix(_MARK))
            return _words(self._locks.keychain().open(review.integration, envelope, place))
        except KeyGone as error:
            return erased_note(error.at_us)
        except (KeyMissing, StoreError, ValueError, msgspec.MsgspecError) as error:
            log.warning("words of review %s: %s", review.id, error)
            return UNREADABLE
