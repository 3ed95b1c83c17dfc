"""Headers that settings give: what no request could carry is found at start."""

from __future__ import annotations

from collections.abc import Mapping

from splice.adapters.net.http import sendable
from splice.core.errors import SettingsError


def check_headers(headers: Mapping[str, str], where: str, keys: frozenset[str]) -> None:
    """Passes headers that can be sent.

    Args:
        headers: Name to value; a value is never repeated.
        where: The provider's name.
        keys: Names of those that hold its key.

    Raises:
        SettingsError: One of them cannot be sent.
    """
    for name, value in headers.items():
        if not sendable(name, value):
            raise SettingsError(
                f"{where}.api_key" if name in keys else f"{where}.headers.{name!r}",
                got="a value that no header can carry",
                promised="printable ASCII without spaces around it",
                mend="look for a line end at the end of the secret",
            )
