"""Reasons: what has changed in a column, in a sentence that a person can check.

Needs splice-ai[monitor].
"""

from __future__ import annotations

from splice.core.profiles import ColumnDrift, Kind, Words
from splice.monitor.shapes import Shape, Spread, counted, figures
from splice.monitor.sketches import distinct

_TELLING = 0.01
"""Of words, only changes of a share by so much are told."""
_TOLD = 3


def reason(one: ColumnDrift, now: Shape, before: Shape) -> str:
    """What to say of a judged column."""
    _, _, figure = one.column.partition("#")
    if figure:
        now, before = figures(now).get(figure, now), figures(before).get(figure, before)
    told = [_missing(now, before), _types(one.kind, now, before)]
    if one.alarm and one.measure in ("missing", "types"):
        return "; ".join(part for part in told if part)
    if one.kind is Kind.NUMBER:
        told.append(_numbers(now.spread, before.spread))
    elif one.kind is Kind.LIST:
        told.append(_numbers(now.lengths, before.lengths))
    elif one.kind is Kind.WORD:
        told.append(_words(now.words, before.words))
    elif one.kind is Kind.TRUTH:
        told.append(_words(now.truths, before.truths))
    text = "; ".join(part for part in told if part)
    return text or _same(one)


def _same(one: ColumnDrift) -> str:
    if one.kind is Kind.NOTHING:
        return "always missing"
    if one.kind is Kind.TEXT and one.alarm:
        return "the texts are about something else, or written in another way"
    return "as it was"


def _missing(now: Shape, before: Shape) -> str:
    is_now, was = now.missing / now.calls, before.missing / before.calls
    return f"missing in {_share(is_now)}, was {_share(was)}" if abs(is_now - was) >= 0.01 else ""


def _types(kind: Kind, now: Shape, before: Shape) -> str:
    """What the values became that were something else."""
    if not now.values or not before.values:
        return ""
    is_now = now.kinds.get(kind, 0) / now.values
    was = before.kinds.get(kind, 0) / before.values
    if abs(is_now - was) < 0.01:
        return ""
    others = {one: count for one, count in now.kinds.items() if one is not kind}
    if is_now > was or not others:
        return f"a {kind} in {_share(is_now)} of its values, was in {_share(was)}"
    other = max(others, key=lambda one: others[one])
    return f"was a {kind}, is a {other} in {_share(others[other] / now.values)} of its values"


def _numbers(now: Spread | None, before: Spread | None) -> str:
    if now is None or before is None:
        return ""
    if len(now.points) == len(before.points) == 1:
        here, there = now.points[0], before.points[0]
        return f"always {here:.4g}" + ("" if here == there else f", was {there:.4g}")
    middle, was = now.quantile(0.5), before.quantile(0.5)
    low, high = now.quantile(0.1), now.quantile(0.9)
    low_was, high_was = before.quantile(0.1), before.quantile(0.9)
    return (
        f"median {middle:.4g} (80 % within {low:.4g} to {high:.4g}), "
        f"was {was:.4g} ({low_was:.4g} to {high_was:.4g})"
    )


def _words(now: Words | None, before: Words | None) -> str:
    if now is None or before is None:
        return ""
    of_now, of_before, hashes = counted(now, before)
    if not hashes:
        many, were = distinct(now.distinct), distinct(before.distinct)
        return f"about {many:.3g} different words, were {were:.3g}"
    shares, were_shares = of_now / of_now.sum(), of_before / of_before.sum()
    changed = sorted(range(len(hashes)), key=lambda i: -abs(shares[i] - were_shares[i]))
    told: list[str] = []
    for place in changed[:_TOLD]:
        is_now, was = float(shares[place]), float(were_shares[place])
        if abs(is_now - was) < _TELLING:
            continue
        name = now.names.get(hashes[place]) or before.names.get(hashes[place])
        word = "a word that is not named" if name is None else repr(name)
        if not was:
            told.append(f"{word} is new, in {_share(is_now)}")
        elif not is_now:
            told.append(f"{word} is gone, was in {_share(was)}")
        else:
            told.append(f"{word} in {_share(is_now)}, was in {_share(was)}")
    return "; ".join(told)


def _share(share: float) -> str:
    """In per cent: never 0 or 100 of what is only nearly so."""
    text = f"{share * 100:.3g}"
    if text == "100" and share < 1:
        text = "over 99.9"
    return f"{text} %"
