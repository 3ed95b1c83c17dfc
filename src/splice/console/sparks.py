"""Sparklines: a course in the height of a line of text, as SVG without any script."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

_WIDTH, _HEIGHT, _EDGE = 96, 20, 1.5

_LINE = Markup(
    '<svg class="spark" viewBox="0 0 {w} {h}" width="{w}" height="{h}" role="img" '
    'aria-label="{label}" preserveAspectRatio="none"><path class="spark-area" d="{area}"/>'
    '<path class="spark-line" d="{line}"/></svg>'
)


def spark(values: Sequence[float | None], label: str) -> Markup:
    """A line over the values, from 0 up; where one is unknown there is a gap.

    Args:
        values: In the order of time.
        label: What a person hears who cannot see it.
    """
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return Markup('<span class="none">{}</span>').format("–")
    top = max(known) or 1.0
    step = (_WIDTH - 2 * _EDGE) / max(len(values) - 1, 1)
    line, area = "", ""
    first: float | None = None
    x = _EDGE
    for place, value in enumerate(values):
        x = round(_EDGE + place * step, 1)
        if value is None:
            if first is not None:
                area += f"V{_HEIGHT}H{first}Z"
            first = None
            continue
        y = round(_HEIGHT - _EDGE - max(value, 0) / top * (_HEIGHT - 2 * _EDGE), 1)
        if first is None:
            line += f"M{x} {y}"
            area += f"M{x} {_HEIGHT}V{y}"
            first = x
        else:
            line += f"L{x} {y}"
            area += f"L{x} {y}"
    if first is not None:
        area += f"V{_HEIGHT}H{first}Z"
    return _LINE.format(w=_WIDTH, h=_HEIGHT, label=label, area=area, line=line)
