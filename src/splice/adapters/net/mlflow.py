"""MLflow's REST API, as far as a registry and a tracker need it: no mlflow package is imported."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn, cast
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from splice.adapters.net.blocking import Blocking
from splice.adapters.net.http import Http, HttpFault, HttpReply, origin_of
from splice.core.errors import SettingsError, StoreError, Unstorable

_API = "/api/2.0/mlflow"
_FILES = "/api/2.0/mlflow-artifacts/artifacts"
_ASK_S = 30.0
_SILENCE_S = 60.0
_ANSWER_MOST = 16 * 1024 * 1024
_CONNECT_S = 5.0
_MISSING = frozenset({"RESOURCE_DOES_NOT_EXIST"})


class Mlflow:
    """One MLflow server. Blocks; for many threads.

    Args:
        url: `http://host:5000`, with the path that comes before `/api`.
        token: Bearer token; or
        user: with `password`, for basic authentication.
        password: See `user`.
    """

    def __init__(self, url: str, token: str = "", user: str = "", password: str = "") -> None:
        headers: dict[str, str] = {}
        if token:
            headers["authorization"] = f"Bearer {token}"
        elif user:
            both = base64.b64encode(f"{user}:{password}".encode()).decode()
            headers["authorization"] = f"Basic {both}"
        origin = origin_of(url, "registry")
        self._http = Http(origin, headers, body_limit=_ANSWER_MOST, connect_s=_CONNECT_S)
        self._blocking = Blocking()
        self.where = f"MLflow at {origin.host}:{origin.port}"

    def get(self, path: str, **query: str | int) -> dict[str, Any] | None:
        """What a GET below the API answers; None where there is no such thing.

        Raises:
            StoreError: The server is away, or answers with an error.
            SettingsError: It does not let us in.
        """
        target = f"{_API}/{path}?{urlencode(query, quote_via=quote)}"
        return self._read(self._ask(self._http.get(target, _ASK_S)))

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """What a POST below the API answers.

        Raises:
            StoreError: As in `get`, and where there is no such thing.
        """
        raw = msgspec.json.encode(body)
        reply = self._ask(self._http.post_once(f"{_API}/{path}", raw, "application/json", _ASK_S))
        found = self._read(reply)
        if found is None:
            self._wrong(reply)
        return found

    def files(self, path: str) -> list[dict[str, Any]]:
        """What stands in a folder of artifacts: `path` relative to it, `is_dir`, `file_size`."""
        target = f"{_FILES}?{urlencode({'path': path}, quote_via=quote)}"
        found = self._read(self._ask(self._http.get(target, _ASK_S))) or {}
        return objects(found.get("files"))

    def download(self, path: str, target: Path, most: int) -> None:
        """Write an artifact of at most so many bytes to a file.

        Raises:
            StoreError: It is not there, larger, or broke off; the file is of no use then.
        """
        self._ask(self._fetch(f"{_FILES}/{quote(path)}", target, most))

    async def _fetch(self, path: str, target: Path, most: int) -> None:
        # A client of its own, for the bound of answers is the client's.
        http = self._http.wider(most)
        try:
            stream = await http.fetch(path)
            stream.watch(_SILENCE_S)
            if stream.status != 200:
                stream.hang_up()
                raise StoreError(
                    self.where, got=f"status {stream.status} for an artifact",
                    promised="its bytes", mend="look whether it is still there",
                )  # fmt: skip
            with target.open("wb") as sink:
                while (part := await stream.next()) is not None:
                    sink.write(part)
        finally:
            await http.close()

    def upload(self, path: str, body: bytes) -> None:
        """Store an artifact.

        Raises:
            StoreError: It was not stored.
        """
        kind = "application/octet-stream"
        reply = self._ask(self._http.post_once(f"{_FILES}/{quote(path)}", body, kind, method="PUT"))
        if reply.status != 200:
            self._wrong(reply)

    def artifact_path(self, uri: str) -> str:
        """The path below which an artifact URI is served by the server itself.

        Raises:
            StoreError: The server does not serve it: clients would need keys of its storage.
        """
        parts = urlsplit(uri)
        path = parts.path.strip("/")
        if parts.scheme != "mlflow-artifacts" or not path or ".." in path.split("/"):
            raise StoreError(
                self.where, got=f"artifacts in {parts.scheme or 'an unknown place'}",
                promised="artifacts that the server serves itself (mlflow-artifacts:)",
                mend="start it with --serve-artifacts and --artifacts-destination",
            )  # fmt: skip
        return path

    def close(self) -> None:
        """Hang up."""
        self._blocking.run(self._http.close())
        self._blocking.close()

    def _ask(self, coroutine: Any) -> Any:
        try:
            return self._blocking.run(coroutine)
        except HttpFault as fault:
            raise StoreError(
                self.where, got=f"{fault.fault}: {fault.detail}", promised="a server that answers",
                mend="start it, or mend registry.url",
            ) from None  # fmt: skip

    def _read(self, reply: HttpReply) -> dict[str, Any] | None:
        if reply.status == 404 and self._error(reply)[0] in _MISSING:
            return None
        if reply.status != 200:
            self._wrong(reply)
        try:
            return msgspec.json.decode(reply.body or b"{}", type=dict[str, Any])
        except msgspec.DecodeError:
            raise StoreError(
                self.where,
                got="an answer that is no JSON object",
                mend="check that registry.url is MLflow's",
            ) from None  # fmt: skip

    def _wrong(self, reply: HttpReply) -> NoReturn:
        code, said = self._error(reply)
        if reply.status in (401, 403):
            raise SettingsError(
                self.where, got=f"status {reply.status}", promised="credentials that it accepts",
                mend="set registry.token_env, or registry.user_env and registry.password_env",
            )  # fmt: skip
        # The server understood and said no: the same will be refused again.
        kind = Unstorable if 400 <= reply.status < 500 else StoreError
        raise kind(self.where, got=f"status {reply.status} {code} {said}".strip())

    def _error(self, reply: HttpReply) -> tuple[str, str]:
        try:
            found = msgspec.json.decode(reply.body, type=dict[str, Any])
        except msgspec.DecodeError:
            return "", ""
        return str(found.get("error_code", "")), str(found.get("message", ""))[:300]


def objects(listed: Any) -> list[dict[str, Any]]:
    """The objects of a JSON list; whatever else stands there is passed over."""
    if not isinstance(listed, list):
        return []
    return [cast("dict[str, Any]", one) for one in cast("list[Any]", listed)
            if isinstance(one, dict)]  # fmt: skip


def pairs(listed: Any) -> dict[str, str]:
    """Tags and parameters: `[{"key": …, "value": …}]` as a dict."""
    return {str(one["key"]): str(one.get("value", "")) for one in objects(listed) if "key" in one}
