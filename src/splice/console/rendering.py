"""Templates: text of calls is escaped wherever it stands; a name that is not there is an error."""

from __future__ import annotations

from typing import Any

import jinja2
from markupsafe import Markup

from splice.console import units
from splice.console.assets import Assets
from splice.console.sparks import spark
from splice.core.monitors import PinnedMonitor
from splice.core.units import noun


def environment(assets: Assets) -> jinja2.Environment:
    """The templates of the package, with what every page may use."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("splice.console", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    filters: dict[str, Any] = {
        "count": units.count,
        "noun": noun,
        "share": units.share,
        "duration": units.duration,
        "micros": units.micros,
        "amount": units.amount,
        "cost": units.cost,
        "score": units.score,
        "moment": units.moment,
        "machine": units.machine,
        "digits": units.digits,
        "when": _when,
        "figure": _figure,
        "measured": _measured,
    }
    made.filters.update(filters)
    used: dict[str, Any] = {
        "asset": assets.path,
        "spark": spark,
        "age": units.age,
        "UNKNOWN": units.UNKNOWN,
        "show": units,
    }
    made.globals.update(used)
    return made


def _when(unix_us: int | None, millis: bool = False) -> Markup:
    """A moment that programs can read too."""
    if unix_us is None:
        return Markup("{}").format(units.UNKNOWN)
    shown = Markup('<time datetime="{}">{}</time>')
    return shown.format(units.machine(unix_us), units.moment(unix_us, millis=millis))


_SHORT = {"auc": "AUC", "mae": "MAE", "rmse": "RMSE", "mape": "MAPE", "ndcg": "NDCG", "mrr": "MRR",
          "r2": "R²", "f1": "F1"}  # fmt: skip


def _figure(name: str) -> str:
    """The name of a figure of quality as people write it."""
    return _SHORT.get(name, name.replace("_", " "))


def _measured(value: float | None, asked: PinnedMonitor) -> str:
    """What a monitor measured or is bound by, in the unit of its figure; of a ratio it has none."""
    if asked.against_s is None or asked.kind == "drift":
        if asked.kind == "latency":
            return units.duration(value)
        if asked.kind == "share":
            return units.share(value)
        if asked.kind == "cost":
            return units.amount(value)
        if asked.kind in ("traffic", "reviews"):
            return units.count(value)
    return units.score(value)
