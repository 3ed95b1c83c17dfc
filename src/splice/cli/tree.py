"""The tree of commands: what each is called, and in which module it is.

A module is imported where one of its commands is given, or where all are listed: the imports of all
are half a second, and most commands take less.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeAlias

import typer
from typer.core import TyperGroup

import splice
from splice.cli.common import EXIT_CODES, Project

Place: TypeAlias = "tuple[str, str]"
"""A module of this package, and what it is there."""


class Group(NamedTuple):
    """Commands below a word: the `app` of a module, and what stands in others."""

    module: str
    help: str
    commands: Mapping[str, Place] = {}
    groups: Mapping[str, Group] = {}


COMMANDS: Mapping[str, Place] = {
    "init": ("project", "init"),
    "check": ("project", "check"),
    "serve": ("serve", "serve"),
    "consume": ("consume", "consume"),
    "relay": ("relay", "relay"),
    "batch": ("batch", "batch"),
    "accuracy": ("accuracy", "accuracy"),
    "drift": ("drift", "drift"),
    "report": ("report", "report"),
    "risk": ("duties", "risk"),
    "duties": ("duties", "duties"),
    "evidence": ("documents", "evidence"),
    "experiment": ("experiment", "experiment"),
    "value": ("value", "value"),
    "stop": ("release", "stop"),
    "start": ("release", "start"),
}
GROUPS: Mapping[str, Group] = {
    "release": Group("release", "Numbered releases of integrations."),
    "retrain": Group("retrain", "Train a model anew, and release it."),
    "rollout": Group("rollout", "A challenger's share of the calls."),
    "cards": Group("documents", "Cards of models and integrations."),
    "incidents": Group("incidents", "Serious incidents: clocks and evidence."),
    "audit": Group(
        "audit",
        "Who changed what, from where and why; and proof.",
        {
            "prove": ("audit_proofs", "prove"),
            "check-proof": ("audit_proofs", "check_proof"),
            "export": ("audit_proofs", "export_"),
        },
    ),
    "calls": Group("calls", "Recorded calls.", {"export": ("call_export", "export_")}),
    "events": Group(
        "events",
        "Publish events; those that could not be answered.",
        {"publish": ("event_publish", "publish")},
        {"outbox": Group("event_outbox", "Decisions that are to be sent.")},
    ),
    "outbox": Group("relay", "Outbox tables of your applications."),
    "outcomes": Group("outcomes", "What really happened."),
    "dashboard": Group("dashboard", "Files for Grafana and Prometheus."),
    "models": Group("models", "Registered models.", {"endpoint": ("endpoints", "endpoint")}),
    "monitors": Group("monitors", "What is watched, and who is told."),
    "policies": Group("policies", "What may go into a model, and come out."),
    "prompts": Group("prompts", "Versions of prompts."),
    "subjects": Group("subjects", "People: what is recorded of them, erasure."),
    "encryption": Group("encryption", "Keys that encrypt what is recorded."),
    "reviews": Group("reviews", "Calls that a person must look at."),
    "keys": Group("keys", "API keys: who may ask."),
    "people": Group("people", "People: who signs in to the console."),
    "budgets": Group("budgets", "Budgets: what may be spent."),
}
WORDS = (*COMMANDS, *GROUPS)
NONE = "--version"
"""In place of a first word: an answer for which no command is needed."""


class Commands(TyperGroup):
    """The tree of commands; notes which one was given, for the audit log."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[Any, Any, list[str]]:
        """The next command in the arguments."""  # Typer's own types are private
        name, command, rest = super().resolve_command(ctx, args)
        words, inner = ["splice", str(name)], command
        for word in rest:
            inner = getattr(inner, "commands", {}).get(word)
            if inner is None:
                break
            words.append(word)
        Project.command = " ".join(words)
        return name, command, rest


@functools.cache
def tree(word: str = "") -> typer.Typer:
    """All commands; where `word` is the first word of one, no others than those below it.

    With `NONE` there are none, and the options before the command alone.
    """
    app = typer.Typer(
        name="splice",
        cls=Commands,
        help="Carry an AI capability from a pilot into the systems you run, and keep it there.",
        epilog=EXIT_CODES,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    app.callback()(_options)
    wanted = (word,) if word in WORDS else () if word == NONE else WORDS
    for name, (module, function) in COMMANDS.items():
        if name in wanted:
            app.command(name)(_found(module, function))
    for name, group in GROUPS.items():
        if name in wanted:
            app.add_typer(_grown(name), name=name, help=group.help)
    return app


def first_word(arguments: list[str]) -> str:
    """The word of the command in these arguments, or `NONE`; nothing where there is neither."""
    rest = iter(arguments)
    for argument in rest:
        if argument == "--project":
            next(rest, None)
        elif argument == NONE:
            return NONE
        elif not argument.startswith("-"):
            return argument
    return ""


@functools.cache  # what stands in other modules is added to the app of its own once
def _grown(name: str) -> typer.Typer:
    return _with(GROUPS[name])


def _with(group: Group) -> typer.Typer:
    app: typer.Typer = _found(group.module, "app")
    for name, (module, function) in group.commands.items():
        app.command(name)(_found(module, function))
    for name, inner in group.groups.items():
        app.add_typer(_with(inner), name=name, help=inner.help)
    return app


def _found(module: str, name: str) -> Any:  # a function of any signature, or an app
    return getattr(import_module(f"splice.cli.{module}"), name)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"splice {splice.__version__}")
        raise typer.Exit


def _options(
    folder: Annotated[
        Path, typer.Option("--project", help="Folder of splice.toml, or one below it.")
    ] = Path(),
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options before the command."""
    Project.folder = folder
