"""`splice serve`: the HTTP server."""

from __future__ import annotations

from typing import Annotated

import typer

import splice
from splice.app.server import run
from splice.app.settings import find_root
from splice.cli.common import Project, talk


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one.")] = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes on one port.")] = None,
    apply: Annotated[
        str | None, typer.Option(help="What to apply at start: first, new or never.")
    ] = None,
) -> None:
    """Serve the live releases over HTTP until SIGTERM or Ctrl-C; running calls are let end."""
    root = find_root(Project.folder)
    given = {
        ("server", "host"): host,
        ("server", "port"): port,
        ("server", "workers"): workers,
        ("project", "apply"): apply,
    }
    overrides = {
        f"SPLICE_{section}_{field}".upper(): str(value)
        for (section, field), value in given.items()
        if value is not None
    }
    talk.print(f"splice {splice.__version__}  {root}")
    run(root, overrides)
