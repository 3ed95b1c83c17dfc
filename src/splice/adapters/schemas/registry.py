"""A Schema Registry over the REST API that Confluent's, Karapace and Apicurio's `ccompat` speak."""

from __future__ import annotations

import base64
from typing import NoReturn
from urllib.parse import quote

import msgspec

from splice.adapters.net.http import Http, HttpFault, HttpReply, origin_of
from splice.core.errors import BusError, UnknownSchema
from splice.ports.schemas import RegistryAccess, Schema, SchemaKey

_ASK_S = 10.0
_CONNECT_S = 5.0
_ANSWER_MOST = 4 * 1024 * 1024
_MOST_PARTS = 100
_ACCEPT = {"accept": "application/vnd.schemaregistry.v1+json, application/json"}
_UNKNOWN = frozenset({40401, 40402, 40403})  # subject, version, schema


class _Reference(msgspec.Struct):
    """A schema that another one refers to."""

    subject: str
    version: int


class _Answer(msgspec.Struct):
    """A schema as the registry gives it; Avro where it does not say what it is."""

    schema: str
    schemaType: str = "AVRO"
    references: list[_Reference] | None = None


class _Problem(msgspec.Struct):
    """What it says when it says no."""

    error_code: int = 0
    message: str = ""


class HttpSchemaRegistry:
    """A SchemaSource. What it has answered once it is not asked again: ids keep their meaning.

    Args:
        access: Its URL, with the path before `/schemas`; user and password for basic
            authentication.

    Raises:
        SettingsError: It is no such URL.
    """

    def __init__(self, access: RegistryAccess) -> None:
        headers = dict(_ACCEPT)
        if access.user or access.password:
            both = base64.b64encode(f"{access.user}:{access.password}".encode()).decode()
            headers["authorization"] = f"Basic {both}"
        origin = origin_of(access.url, "kafka.schema_registry")
        self._http = Http(origin, headers, body_limit=_ANSWER_MOST, connect_s=_CONNECT_S)
        self._where = f"the Schema Registry at {origin.host}:{origin.port}"
        self._known: dict[SchemaKey, Schema] = {}

    async def schema(self, key: SchemaKey) -> Schema:
        """The schema of an id or a GUID, with those that it refers to."""
        known = self._known.get(key)
        if known is not None:
            return known
        path = f"/schemas/guids/{key}" if isinstance(key, str) else f"/schemas/ids/{key}"
        answer = await self._asked(path, f"schema {key}")
        parts: dict[tuple[str, int], str] = {}
        await self._add_parts(answer, parts, set())
        made = Schema(answer.schemaType, answer.schema, tuple(parts.values()))
        self._known[key] = made
        return made

    async def close(self) -> None:
        """Hang up."""
        await self._http.close()

    async def _add_parts(
        self, answer: _Answer, parts: dict[tuple[str, int], str], begun: set[tuple[str, int]]
    ) -> None:
        """What an answer refers to, each after what it needs itself."""
        for one in answer.references or ():
            place = (one.subject, one.version)
            if place in begun:
                continue
            begun.add(place)
            if len(begun) > _MOST_PARTS:
                raise UnknownSchema(
                    self._where,
                    got=f"more than {_MOST_PARTS} references of one schema",
                    promised="fewer",
                )
            path = f"/subjects/{quote(one.subject, safe='')}/versions/{one.version}"
            part = await self._asked(path, f"version {one.version} of {one.subject}")
            await self._add_parts(part, parts, begun)
            parts[place] = part.schema

    async def _asked(self, path: str, what: str) -> _Answer:
        try:
            reply = await self._http.get(path, _ASK_S)
        except HttpFault as fault:
            raise BusError(
                self._where, got=f"{fault.fault}: {fault.detail}", promised="an answer",
                mend="start it, or mend kafka.schema_registry",
            ) from None  # fmt: skip
        if reply.status != 200:
            self._refuse(reply, what, by_guid=path.startswith("/schemas/guids/"))
        try:
            return msgspec.json.decode(reply.body, type=_Answer)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise BusError(
                self._where, got="an answer that is no schema", promised="the API of a registry",
                mend="check kafka.schema_registry",
            ) from None  # fmt: skip

    def _refuse(self, reply: HttpReply, what: str, *, by_guid: bool) -> NoReturn:
        try:
            problem = msgspec.json.decode(reply.body, type=_Problem)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            problem = _Problem()
        if reply.status == 404 and (by_guid or problem.error_code in _UNKNOWN):
            hint = "; not every registry knows GUIDs" if by_guid else ""
            raise UnknownSchema(self._where, got=f"no {what}{hint}", promised="its schema")
        # Whatever else it says, it is not the event's fault: the event waits, and is not given up.
        mend = "check kafka.schema_registry"
        if reply.status in (401, 403):
            mend = "set kafka.registry_user_env and kafka.registry_password_env"
        raise BusError(
            self._where, got=f"status {reply.status} {problem.message[:200]}".rstrip(),
            promised=what, mend=mend,
        )  # fmt: skip
