"""AsyncAPI 3 of what is consumed, made from the declared types and the settings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast
from urllib.parse import urlsplit

import msgspec

from splice.core.release import Manifest
from splice.serve.adopt import adopt
from splice.serve.events.retries import ORIGIN, TRIES

_KAFKA_BINDING = "0.5.0"
_JSON = "application/json"
_STRUCTURED = "application/cloudevents+json"
_TEXT: dict[str, Any] = {"type": "string", "minLength": 1}
_WIRE = (
    "In JSON, or in the wire format of a Schema Registry: the byte 0, a schema's id, and Avro or "
    "JSON by that schema."
)


class Consumed(msgspec.Struct, frozen=True):
    """How the events of one integration are consumed; `[consume.NAME]` explains each."""

    manifest: Manifest
    source: str
    targets: tuple[str, ...] = ()
    group: str = ""
    format: str = "auto"
    reply_format: str = "cloudevents"
    dead: str = ""


def asyncapi_document(
    consumed: Sequence[Consumed],
    kafka_servers: str = "",
    schema_registry: str = "",
    *,
    tls: bool = False,
) -> dict[str, Any]:
    """The document of these integrations: where their events come from, and where decisions go.

    Args:
        consumed: Each integration that consumes.
        kafka_servers: `host:port`, several with commas between them.
        schema_registry: Its URL, or empty.
        tls: Whether Kafka is spoken to over TLS.
    """
    places = _Places(kafka_servers, schema_registry, tls=tls)
    schemas: dict[str, Any] = {}
    messages: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    for one in sorted(consumed, key=lambda each: each.manifest.integration):
        name = one.manifest.integration
        asked, said = _schemas_of(one.manifest, schemas)
        events = _events(one, asked, messages)
        operations[f"{name}.receive"] = _operation(
            "receive", places.channel(one.source, events), events, one.manifest.purpose,
            _group(one) if one.source.startswith("kafka:") else None,
        )  # fmt: skip
        decision = [_decision(one, said, messages)]
        for number, target in enumerate(one.targets):
            operations[f"{name}.send.{number}"] = _operation(
                "send", places.channel(target, decision), decision,
                f"Each decision of {name}.", _posted(target),
            )  # fmt: skip
        if one.dead:
            dead = [_dead(one, messages)]
            operations[f"{name}.dead"] = _operation(
                "send", places.channel(one.dead, dead), dead,
                f"Events that {name} could not answer.", None,
            )  # fmt: skip
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Splice",
            "version": "1",
            "description": "Events that the live integrations answer, and their decisions.",
        },
        "defaultContentType": _JSON,
        "servers": places.servers,
        "channels": places.channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": schemas},
    }


class _Places:
    """Servers and channels, by the URLs of streams and targets."""

    def __init__(self, kafka_servers: str, schema_registry: str, *, tls: bool) -> None:
        self.servers: dict[str, Any] = {}
        self.channels: dict[str, Any] = {}
        self._ids: dict[str, str] = {}
        self._kafka = [host.strip() for host in kafka_servers.split(",") if host.strip()]
        self._registry, self._tls = schema_registry, tls

    def channel(self, url: str, messages: Sequence[str]) -> str:
        """The id of the channel, which carries these messages too."""
        key = self._ids.get(url)
        if key is None:
            key = self._ids[url] = self._new_id(url)
            self.channels[key] = self._made(url)
        carried = self.channels[key]["messages"]
        for message in messages:
            carried[message] = {"$ref": f"#/components/messages/{message}"}
        return key

    def _new_id(self, url: str) -> str:
        plain = re.sub(r"[^A-Za-z0-9_-]+", "-", url).strip("-") or "channel"
        key, number = plain, 2
        while key in self.channels:
            key, number = f"{plain}-{number}", number + 1
        return key

    def _made(self, url: str) -> dict[str, Any]:
        scheme, _, name = url.partition(":")
        if scheme == "kafka":
            binding = {"topic": name, "bindingVersion": _KAFKA_BINDING}
            return self._channel(name, self._kafka_servers(), {"kafka": binding})
        if scheme in ("http", "https"):
            parts = urlsplit(url)
            host = parts.hostname or "localhost"
            host = host if parts.port is None else f"{host}:{parts.port}"
            return self._channel(parts.path or "/", [self._server(host, scheme, "A webhook.")])
        if scheme == "table":
            server = self._server("ledger", "sql", "A table in the database of the ledger.")
            return self._channel(name, [server])
        server = self._server("ledger", "queue", "The durable queue in the database of the ledger.")
        return self._channel(name, [server])

    def _channel(
        self, address: str, servers: Sequence[str], bindings: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        made: dict[str, Any] = {
            "address": address,
            "servers": [{"$ref": f"#/servers/{server}"} for server in servers],
            "messages": {},
        }
        if bindings is not None:
            made["bindings"] = bindings
        return made

    def _kafka_servers(self) -> list[str]:
        found: list[str] = []
        for host in self._kafka or ["localhost:9092"]:
            key = self._server(host, "kafka-secure" if self._tls else "kafka", "")
            if self._registry:
                binding = {
                    "schemaRegistryUrl": self._registry,
                    "schemaRegistryVendor": "confluent",
                    "bindingVersion": _KAFKA_BINDING,
                }
                self.servers[key]["bindings"] = {"kafka": binding}
            found.append(key)
        return found

    def _server(self, host: str, protocol: str, description: str) -> str:
        key = re.sub(r"[^A-Za-z0-9_-]+", "-", f"{protocol}-{host}")
        made = {"host": host, "protocol": protocol}
        self.servers[key] = made | ({"description": description} if description else {})
        return key


def _schemas_of(manifest: Manifest, schemas: dict[str, Any]) -> tuple[Any, Any]:
    prefix = "".join(part.capitalize() for part in manifest.integration.split("-"))
    return (
        adopt(_draft7(manifest.request_schema), f"{prefix}Request", schemas),
        adopt(_draft7(manifest.reply_schema), f"{prefix}Reply", schemas),
    )


def _draft7(node: Any) -> Any:
    """A schema of 2020-12 in the words of draft 7, which AsyncAPI's own schemas are."""
    if isinstance(node, list):
        return [_draft7(one) for one in cast("list[Any]", node)]
    if not isinstance(node, dict):
        return node
    fields = cast("dict[str, Any]", node)
    if "prefixItems" in fields:
        rest = fields.get("items")
        fields = {k: v for k, v in fields.items() if k not in ("prefixItems", "items")} | {
            "items": fields["prefixItems"],
            **({} if rest is None else {"additionalItems": rest}),
        }
    # OpenAPI's discriminator is an object, AsyncAPI's a text of another meaning: `const` tells.
    return {
        k: _draft7(v)
        for k, v in fields.items()
        if not (k == "discriminator" and isinstance(v, dict) and "propertyName" in v)
    }


def _events(one: Consumed, asked: Any, messages: dict[str, Any]) -> list[str]:
    """The messages that the source may carry."""
    name = one.manifest.integration
    made: list[str] = []
    required = _required() if one.format == "cloudevents" else []
    event: dict[str, Any] = {
        "title": f"A question to {name}",
        "contentType": _JSON,
        "headers": _headers(_incoming(), required, cloud=one.format in ("auto", "cloudevents")),
        "payload": asked,
    }
    if one.format in ("auto", "registry"):
        event["summary"] = _WIRE
    messages[f"{name}.event"] = event
    made.append(f"{name}.event")
    if one.format in ("auto", "cloudevents"):
        messages[f"{name}.structured"] = {
            "title": f"A question to {name}, as a CloudEvent in structured mode",
            "contentType": _STRUCTURED,
            "payload": _envelope(asked, _incoming()),
        }
        made.append(f"{name}.structured")
    return made


def _decision(one: Consumed, said: Any, messages: dict[str, Any]) -> str:
    name = one.manifest.integration
    key = f"{name}.decision"
    own: dict[str, Any] = {
        "source": {"type": "string", "const": f"/splice/{name}"},
        "type": {"type": "string", "const": f"splice.{name}.decided"},
        "id": {"type": "string", "format": "uuid", "description": "The id of the call."},
        "time": {"type": "string", "format": "date-time"},
        "subject": {**_TEXT, "description": "The entity that the decision is about."},
        "splicerelease": {**_TEXT, "description": "The release that answered."},
        "spliceroute": {**_TEXT, "description": "The route that answered."},
        "spliceversion": {**_TEXT, "description": "What exactly ran."},
        "splicevariant": {**_TEXT, "description": "The variant of a rollout."},
        "splicereason": {**_TEXT, "description": "Why this route answered."},
        "causationid": {**_TEXT, "description": "The id, or the place, of the event answered."},
        "causationsource": {**_TEXT, "description": "The source of the event answered."},
        "correlationid": {**_TEXT, "description": "That of the event answered."},
    }
    must = [*_required(), "time", "splicerelease", "splicereason", "causationid"]
    made: dict[str, Any] = {"title": f"A decision of {name}"}
    if one.reply_format == "structured":
        made |= {
            "contentType": _STRUCTURED,
            "headers": _headers({}, [], cloud=False),
            "payload": _envelope(said, own, must),
            "correlationId": {"location": "$message.payload#/causationid"},
        }
    elif one.reply_format == "json":
        names = ("splice-integration", "splice-call-id", "splice-release", "splice-event-id")
        headers = _headers({}, [], cloud=False)
        headers["properties"] |= dict.fromkeys(names, _TEXT)
        headers["required"] = list(names)
        made |= {
            "contentType": _JSON,
            "headers": headers,
            "payload": said,
            "correlationId": {"location": "$message.header#/splice-event-id"},
        }
    else:
        made |= {
            "contentType": _JSON,
            "headers": _headers(own, must, cloud=True),
            "payload": said,
            "correlationId": {"location": "$message.header#/ce_causationid"},
        }
    messages[key] = made
    return key


def _dead(one: Consumed, messages: dict[str, Any]) -> str:
    name = one.manifest.integration
    key = f"{name}.dead-letter"
    messages[key] = {
        "title": f"An event that {name} could not answer",
        "summary": "Key, value and headers as they came, and headers that say why.",
        "contentType": "application/octet-stream",
        "headers": {
            "type": "object",
            "properties": {
                ORIGIN: {**_TEXT, "description": "Where it came from: stream, partition, offset."},
                TRIES: {**_TEXT, "description": "How often it was tried."},
                "splice-error": {**_TEXT, "description": "The code of the error."},
                "splice-error-detail": {**_TEXT, "description": "Where, what came, what was due."},
            },
            "required": [ORIGIN, TRIES, "splice-error", "splice-error-detail"],
        },
        "payload": {},
    }
    return key


def _required() -> list[str]:
    return ["specversion", "id", "source", "type"]


def _incoming() -> dict[str, Any]:
    return {
        "id": {**_TEXT, "description": "With `source` the identity: what comes again is not paid."},
        "source": {**_TEXT, "format": "uri-reference"},
        "type": _TEXT,
        "time": {"type": "string", "format": "date-time"},
        "partitionkey": _TEXT,
        "correlationid": _TEXT,
    }


def _headers(attributes: Mapping[str, Any], required: Sequence[str], *, cloud: bool) -> Any:
    """The headers of a message: CloudEvents' in binary mode, and the trace."""
    properties: dict[str, Any] = {}
    if cloud:
        properties["ce_specversion"] = {"type": "string", "const": "1.0"}
        properties |= {f"ce_{name}": schema for name, schema in attributes.items()}
    properties["traceparent"] = {
        "type": "string",
        "description": "W3C trace context.",
        "pattern": "^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}",
    }
    made: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        made["required"] = [f"ce_{name}" for name in required]
    return made


def _envelope(
    payload: Any, attributes: Mapping[str, Any], required: Sequence[str] = ()
) -> dict[str, Any]:
    """A CloudEvent in structured mode."""
    return {
        "type": "object",
        "properties": {
            "specversion": {"type": "string", "const": "1.0"},
            **attributes,
            "datacontenttype": {"type": "string"},
            "data": payload,
        },
        "required": [*(required or _required()), "data"],
    }


def _operation(
    action: str,
    channel: str,
    messages: Sequence[str],
    purpose: str,
    bindings: Mapping[str, Any] | None,
) -> dict[str, Any]:
    first, _, _ = purpose.partition("\n")
    made: dict[str, Any] = {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": first,
        "messages": [{"$ref": f"#/channels/{channel}/messages/{one}"} for one in messages],
    }
    if bindings is not None:
        made["bindings"] = bindings
    return made


def _group(one: Consumed) -> dict[str, Any]:
    group = one.group or f"splice-{one.manifest.integration}"
    group_id = {"type": "string", "enum": [group]}
    return {"kafka": {"groupId": group_id, "bindingVersion": _KAFKA_BINDING}}


def _posted(target: str) -> dict[str, Any] | None:
    if not target.startswith(("http:", "https:")):
        return None
    return {"http": {"method": "POST", "bindingVersion": "0.3.0"}}
