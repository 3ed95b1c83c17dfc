"""`splice consume`: events in, decisions out."""

from __future__ import annotations

from typing import Annotated

import typer

import splice
from splice.app.consuming import run_worker
from splice.app.settings import find_root
from splice.app.supervise import supervise
from splice.cli.common import Project, talk


def consume(
    integrations: Annotated[
        list[str] | None,
        typer.Argument(help="Which; those of [consume.…] in splice.toml if left out."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; as [consume.…] says if left out.")
    ] = None,
    until_empty: Annotated[
        bool, typer.Option("--until-empty", help="End once nothing more comes for a second.")
    ] = False,
    worker: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Answer events from Kafka or the embedded queue until SIGTERM or Ctrl-C.

    Each event is answered by the live release; record, decision and position are stored in one
    transaction. A worker that dies is started again.
    """
    root = find_root(Project.folder)
    names = integrations or []
    if worker is not None:
        run_worker(root, names, worker, until_empty=until_empty)
        return
    talk.print(f"splice {splice.__version__}  {root}")
    raise typer.Exit(supervise(root, names, workers, until_empty=until_empty))
