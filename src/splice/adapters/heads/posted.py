"""Signed heads that are posted to an address, one after the other."""

from __future__ import annotations

import http.client
import ssl
from urllib.parse import urlsplit

from splice.core.errors import SettingsError, StoreError
from splice.core.heads import Note

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_TIMEOUT_S = 10.0


class PostedHeads:
    """Each head is the body of a POST; any 2xx says that it is kept.

    What is there is not read back. A process that starts posts the newest head first of all, and
    then each that comes.

    Args:
        url: Where to: `https://`, or `http://` on this machine.

    Raises:
        SettingsError: It is another URL.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._secure = parts.scheme == "https"
        if not parts.hostname or not (
            self._secure or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
        ):
            raise SettingsError("audit.heads", got=url, promised="a file, or an https address")
        self._host, self._port = parts.hostname, parts.port
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._last: Note | None = None

    @property
    def name(self) -> str:
        """Its host and path."""
        return f"{self._host}{self._target.partition('?')[0]}"

    def newest(self) -> Note | None:
        """The last head that this process posted."""
        return self._last

    def add(self, notes: list[Note]) -> None:
        """Post those that are newer than the last; the newest of them where nothing was yet."""
        after = notes[-1].head.number - 1 if self._last is None else self._last.head.number
        for note in notes:
            if note.head.number > after:
                self._post(note)
                self._last = note

    def _post(self, note: Note) -> None:
        connection = self._connection()
        try:
            kinds = {"content-type": "text/plain; charset=utf-8", "user-agent": "splice"}
            connection.request("POST", self._target, note.text.encode(), kinds)
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            raise StoreError(
                f"audit.heads {self.name}", got=f"{type(error).__name__}: {error}",
                mend="the head is kept in the ledger, and posted again",
            ) from None  # fmt: skip
        finally:
            connection.close()
        if not 200 <= status < 300:
            raise StoreError(f"audit.heads {self.name}", got=f"HTTP {status}", promised="a 2xx")

    def _connection(self) -> http.client.HTTPConnection:
        if not self._secure:
            return http.client.HTTPConnection(self._host, self._port, timeout=_TIMEOUT_S)
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(
            self._host, self._port, timeout=_TIMEOUT_S, context=context
        )
