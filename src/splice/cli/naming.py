"""The name of an integration on the command line: where there is one only, it need not be said."""

from __future__ import annotations

from typing import Annotated

import typer

from splice.app import wiring
from splice.cli.common import stores
from splice.cli.moments import WrongOption
from splice.declare.discover import find


def the_only(name: str, also: str = "") -> str:
    """The name that was given, or that of the only integration of the project.

    Args:
        name: What was given.
        also: What else could have been said instead of a name.

    Raises:
        WrongOption: None was given, and there are several, or none.
    """
    if name:
        return name
    with stores() as (settings, opened):
        names = {one.integration for one in opened.releases.live()}
        root, modules = wiring.modules_of(settings)
        found, _ = find(root, modules)  # whoever names one later is told what is wrong with it
    names |= {one.declaration.name for one in found}
    if len(names) == 1:
        return names.pop()
    raise WrongOption(
        "NAME", got="nothing",
        promised=(f"one of {', '.join(sorted(names))}" if names else "an integration") + also,
        mend="" if names else "this project has none yet: splice init makes one",
    )  # fmt: skip


def _given(name: str) -> str:
    return the_only(name)


TheOnly = Annotated[
    str,
    typer.Argument(
        help="Name of the integration; the only one of the project if left out.",
        callback=_given,
        show_default=False,
    ),
]
"""An argument, whose default is ""."""
