"""`splice models endpoint`: a model that runs elsewhere becomes a version."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import msgspec
import typer

from splice.app import wiring
from splice.app.clock import now_us
from splice.app.hosts import remote_of
from splice.app.settings import Settings, user_name
from splice.cli.common import out, stores, talk
from splice.control.endpoints import column_of, register_endpoint
from splice.control.registry import CHAMPION, Registration
from splice.core.errors import DeclarationError, ModelUnavailable
from splice.core.release import Column, Signature
from splice.core.versions import Endpoint
from splice.ports.hosts import RemoteRuntime


def endpoint(
    name: Annotated[str, typer.Argument(help="Name of the model.")],
    url: Annotated[str, typer.Argument(help="Where it is; SageMaker's is known by --region.")] = "",
    protocol: Annotated[
        str, typer.Option(help="oip, oip-grpc, sagemaker, or another installed one.")
    ] = "oip",
    model: Annotated[str, typer.Option(help="Its name there; NAME if left out.")] = "",
    version: Annotated[str, typer.Option(help="Its version there (SageMaker: variant).")] = "",
    region: Annotated[str, typer.Option(help="SageMaker: region of the endpoint.")] = "",
    key_env: Annotated[
        str, typer.Option(help="Environment variable with its secret (SageMaker: prefix).")
    ] = "",
    input: Annotated[  # noqa: A002 - the name of the option
        list[str] | None,
        typer.Option(help="NAME:DATATYPE[SHAPE] of an input; the endpoint is not asked then."),
    ] = None,
    output: Annotated[
        list[str] | None,
        typer.Option(help="NAME, or NAME:DATATYPE[SHAPE], of an output to ask for, in order."),
    ] = None,
    classes: Annotated[
        str, typer.Option(help="Names of the classes in the order of the chances: good,bad.")
    ] = "",
    option: Annotated[
        list[str] | None, typer.Option(help="KEY=VALUE of the protocol; VALUE may be JSON.")
    ] = None,
    alias: Annotated[str, typer.Option(help="Alias to point at it; empty for none.")] = CHAMPION,
    why: Annotated[str, typer.Option(help="Reason; it is in the audit log.")] = "",
    new_signature: Annotated[
        bool, typer.Option(help="The alias may move to other inputs and outputs.")
    ] = False,
) -> None:
    """Register a model behind an endpoint: KServe, Triton, MLServer, SageMaker, another Splice.

    The endpoint is asked what the model reads and gives, unless --input says it.
    """
    outputs = [one for one in output or () if ":" in one]
    wanted = [one.partition(":")[0] for one in output or ()]
    options = {**_options(option or ()), **({"outputs": wanted} if wanted else {})}
    place = Endpoint(protocol, url, model or name, version, region, key_env, options)
    by_hand = Signature(
        inputs=tuple(column_of(one) for one in input or ()),
        outputs=tuple(column_of(one) for one in outputs),
        classes=tuple(one.strip() for one in classes.split(",") if one.strip()),
    )
    said = Registration(
        by=user_name(), why=why, source=url or f"{protocol} {region}".strip(),
        aliases=(alias,) if alias else (), new_signature=new_signature,
    )  # fmt: skip
    with stores() as (settings, opened):
        signature = asyncio.run(_signature(settings, place, by_hand))
        registry = wiring.registry_of(settings, opened)
        adopted = register_endpoint(registry, name, place, signature, now_us=now_us(), said=said)
    kept = adopted.version
    out.print(f"{kept.label}  {kept.sha256[:12]}  {protocol} {place.model} {url or region}")
    for kind, columns in (("in ", kept.signature.inputs), ("out", kept.signature.outputs)):
        for column in columns:
            out.print(f"  {kind}  {column.name}  {column.datatype}{list(column.shape)}")
    if not adopted.is_new:
        talk.print("This endpoint is that version already.")


def _options(given: list[str] | tuple[str, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in given:
        key, equals, value = one.partition("=")
        if not equals or not key:
            raise DeclarationError(
                f"--option {one[:80]!r}", promised="KEY=VALUE", mend="write it like lanes=16"
            )
        try:
            found[key] = msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeEncodeError):
            found[key] = value  # a plain text
    return found


async def _signature(settings: Settings, place: Endpoint, by_hand: Signature) -> Signature:
    """What was said by hand, and for the rest what the endpoint says."""
    remote = remote_of(settings, place.protocol)
    try:
        _connect(remote, place, by_hand)
        if by_hand.inputs:
            return by_hand
        told = await remote.inspect(place)
    finally:
        await remote.close()
    outputs = by_hand.outputs or _asked_for(place, told.outputs)
    return msgspec.structs.replace(told, outputs=outputs, classes=by_hand.classes or told.classes)


def _connect(remote: RemoteRuntime, place: Endpoint, signature: Signature) -> None:
    """Finds mistakes in what was said of the endpoint, without asking it."""
    try:
        remote.connect(place, (), signature if signature.inputs else None)
    except ModelUnavailable as error:
        if signature.inputs:
            # Where it is registered the secret need not be known; where it is called it must.
            talk.print(str(error), style="yellow")
            return
        raise


def _asked_for(place: Endpoint, outputs: tuple[Column, ...]) -> tuple[Column, ...]:
    wanted: list[str] = place.options.get("outputs", [])
    if not wanted:
        return outputs
    by_name = {one.name: one for one in outputs}
    missing = [name for name in wanted if name not in by_name]
    if missing and outputs:
        raise DeclarationError(
            f"--output {missing[0]}",
            got=f"a model that gives {', '.join(by_name)}",
            mend="name one of those",
        )
    return tuple(by_name[name] for name in wanted if name in by_name)
