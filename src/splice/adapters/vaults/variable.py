"""A vault in an environment variable, which another system fills and tends."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from splice.adapters.vaults.keks import Ring
from splice.core.vault_errors import VaultError
from splice.ports.vaults import Kek


class VariableVault:
    """A Vault that was handed in as text: what `splice encryption init --print` writes.

    To rotate, put a new key in front, and start anew; once nothing is wrapped by the old one,
    take it out.

    Args:
        name: Of the variable, for people.
        text: What it holds.
    """

    def __init__(self, name: str, text: str) -> None:
        self._name = name
        if not text:
            raise VaultError(
                self.place, got="nothing", promised="what splice encryption init --print writes",
                mend="set it where the process starts",
            )  # fmt: skip
        self._ring = Ring(text.encode(), self.place)
        self.keks, self.wrap, self.unwrap = self._ring.keks, self._ring.wrap, self._ring.unwrap

    @property
    def place(self) -> str:
        """The variable's name."""
        return f"the variable {self._name}"

    def index_key(self) -> bytes:
        """32 bytes, the same for ever."""
        return self._ring.index_key

    def rotate(self, now_us: int) -> Kek:
        """Not here."""
        raise self._elsewhere("put a new key first among its keks, and start anew")

    def destroy(self, kek: str) -> None:
        """Not here."""
        if kek in {one.id for one in self._keks()}:
            raise self._elsewhere(f"take {kek} out of it, and start anew")

    def _keks(self) -> Sequence[Kek]:
        return self._ring.keks()

    def _elsewhere(self, mend: str) -> VaultError:
        return VaultError(self.place, got="a vault that is tended elsewhere", mend=mend)


def open_variable_vault(path: Path, secret: str) -> VariableVault:
    """The vault at `env:NAME`."""
    return VariableVault(path.name, secret)
