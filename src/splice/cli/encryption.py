"""`splice encryption …`: the vault that wraps the keys of people."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from splice.app.clock import now_us
from splice.app.encrypting import EXTRA, in_variable, vault_of
from splice.app.plugins import plugin
from splice.app.settings import Settings, user_name
from splice.cli.common import Project, out, stores, talk
from splice.control.erasure import tend
from splice.core.errors import SettingsError
from splice.core.units import plural
from splice.serve.http.desk import iso

app = typer.Typer(no_args_is_help=True)

_README = """What is in this folder opens what the ledger holds enciphered.

Keep it out of every backup of the ledger, or an erased person can be read again from there.
vault.json needs a copy of its own, at another place, that is replaced after each rotation:
without it nothing enciphered can be read. people.db needs one, too; copies from before the
last rotation are of no use, and that is what makes erasure final.
"""


@app.command()
def init(
    print_: Annotated[
        bool, typer.Option("--print", help="Print what a variable is to hold; make no file.")
    ] = False,
) -> None:
    """Make the keys that wrap the keys of people, in a file that only its owner can read."""
    settings = Project.settings()
    if print_:
        fresh: Any = plugin("vaults", "fresh", EXTRA)
        sys.stdout.write(fresh(now_us()) + "\n")
        return
    path = _file(settings)
    vault: Any = vault_of(settings)
    vault.make(now_us())
    for name, text in (("README", _README), (".gitignore", "*\n")):
        (path.parent / name).write_text(text, "utf-8")
    out.print(f"{path} is made. Copy it to a safe place, and keep it out of backups of the ledger.")


@app.command()
def status() -> None:
    """Tell which keys wrap, since when, and how many keys of people each has wrapped."""
    with stores() as (settings, opened):
        chain = opened.encryption.keychain()
        counts = chain.keys.count()
        encrypted = opened.encryption.protections.encrypted()
        out.print(f"vault         {chain.vault.place}")
        for place, kek in enumerate(chain.vault.keks()):
            made = iso(kek.made_us)[:19] if kek.made_us else "unknown"
            role = "wraps" if not place else "unwraps"
            out.print(f"{kek.id}  {role}, made {made}, {plural(counts.get(kek.id, 0), 'key')}")
        known = {kek.id for kek in chain.vault.keks()}
        for kek, count in counts.items():
            if kek not in known:
                talk.print(
                    f"{plural(count, 'key is', 'keys are')} wrapped by {kek}, which is not in "
                    "the vault"
                )
        live = opened.encryption.protections.live
        told = [
            name if (one := live(name)) and one.encrypt else f"{name} (not by its live release)"
            for name in encrypted
        ]
        out.print(f"encrypted     {', '.join(told) or 'nothing yet'}")
        rotated = settings.encryption.rotate or "never by itself"
        out.print(f"rotation      {rotated}")


@app.command()
def rotate(
    destroy: Annotated[
        bool, typer.Option("--destroy", help="Destroy the ones before at once.")
    ] = False,
    why: Annotated[str, typer.Option("--why", help="Reason, kept in the audit log.")] = "",
) -> None:
    """Begin with a new key that wraps, and wrap every key of a person by it.

    Those before are destroyed by the servers after encryption.overlap, or at once.
    """
    with stores() as (settings, opened):
        chain = opened.encryption.keychain()
        elsewhere = in_variable(settings)
        tend(chain, now_us(), rotate=not elsewhere, destroy=destroy)
        newest = chain.vault.keks()[0]
        opened.audit.add_event(
            "encryption.rotate", newest.id, by=user_name(), why=why, now_us=now_us(),
            details={"keks": [one.id for one in chain.vault.keks()]},
        )  # fmt: skip
    out.print(f"{newest.id} wraps now.")


def _file(settings: Settings) -> Path:
    scheme, _, rest = settings.encryption.vault.partition(":")
    if scheme != "file":
        raise SettingsError(
            "encryption.vault", got=settings.encryption.vault, promised="file:PATH",
            mend="splice encryption init --print writes what a variable is to hold",
        )  # fmt: skip
    return settings.path(rest)
