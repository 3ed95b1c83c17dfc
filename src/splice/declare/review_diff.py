"""What a release says of reviews, in words, for telling two releases apart."""

from __future__ import annotations

from splice.core.choosing import condition_text
from splice.core.reviews import PinnedReview
from splice.core.rollout import share_text
from splice.core.units import duration_text


def review_texts(review: PinnedReview | None) -> dict[str, str]:
    """Each thing that is declared by its name; nothing where nothing is."""
    if review is None:
        return {}
    terms = review.terms
    when = (" and ".join(map(condition_text, conditions)) for conditions in review.when)
    value = f", by {terms.value.removeprefix('reply.')}" if terms.value else ""
    said = {
        "when": "; ".join(when),
        "share": share_text(review.share) if review.share else "",
        "within": duration_text(terms.within_s),
        "expires": "" if terms.expires_s is None else duration_text(terms.expires_s),
        "eyes": "two people" if terms.four_eyes else "one person",
        "reasons": ", ".join(terms.reasons),
        "outcome": f"{terms.outcome}{value}",
    }
    return {name: text for name, text in said.items() if text}
