"""Masked: what leaves the machine has placeholders, what comes back has the values again.

The table of a call is made when it is asked and forgotten with its answer. Where it cannot
be made, the route is not asked.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NoReturn, cast

import msgspec

from splice.core.call import Prediction
from splice.core.chat import Dialect, WireReply, WireRequest
from splice.core.errors import RouteError, RouteTimeout, SpliceError
from splice.core.masking_errors import MaskingFailed
from splice.core.prices import Price
from splice.engine.routing.filled_stream import FilledStream
from splice.engine.routing.filling import Filler
from splice.ports.masking import Masker, Veiled
from splice.ports.predictor import Predictor, Question
from splice.ports.providers import Completion, CompletionRequest, Message, Provider, Stream

_AT_ONCE = 16 * 1024
"""Bytes that are searched in the event loop; more of them would hold up other calls."""

_SEARCH_S = 10.0
"""For a cache nobody searches longer: then nothing is kept."""

_encode = msgspec.json.encode
_decode = msgspec.json.decode


class _Wire(msgspec.Struct):
    fields: dict[str, msgspec.Raw]
    headers: dict[str, str]


class Veil:
    """Masks for the routes of one integration.

    Args:
        masker: Finds what its rules name.
        files: Whether files go out although nobody can look into them.
        known: Values that the declaration says itself: they are no secret.
    """

    def __init__(self, masker: Masker, *, files: bool = False, known: Collection[str] = ()) -> None:
        self._masker = masker
        self._files = files
        self._known = known

    def knowing(self, texts: Iterable[str]) -> Veil:
        """The same, for a route whose prompt says these texts.

        Raises:
            MaskingFailed: They cannot be searched.
        """
        found = self.veiled(_encode(list(texts)), "prompt").values
        return Veil(self._masker, files=self._files, known=frozenset(found.values()))

    async def holds(self, document: bytes) -> bool:
        """Whether there is anything to mask in a document; also where nobody can tell."""
        if not document:
            return False
        try:
            return bool((await self.within(document, "", _SEARCH_S)).values)
        except RouteError:
            return True

    def veiled(self, document: bytes, where: str) -> Veiled:
        """A document with placeholders.

        Raises:
            MaskingFailed: It could not be searched.
        """
        try:
            veiled = self._masker.veil(document, self._known, files=self._files)
        except Exception as error:  # noqa: BLE001 - whatever it raises, nothing may go out
            _refuse(where, error)
        return veiled

    async def within(self, document: bytes, where: str, seconds: float) -> Veiled:
        """The same; where it takes long, elsewhere than in the event loop.

        Raises:
            MaskingFailed: It could not be searched.
            RouteTimeout: Not in this time.
        """
        if len(document) <= _AT_ONCE and not getattr(self._masker, "slow", False):
            return self.veiled(document, where)
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.to_thread(self.veiled, document, where)
        except TimeoutError:
            raise RouteTimeout(where, got="masking that took all of its time") from None


def _refuse(where: str, error: Exception) -> NoReturn:
    """Without the words of the error, which may quote what it could not read."""
    ours = isinstance(error, SpliceError) and error.code == "not_masked"
    got = error.got if isinstance(error, SpliceError) and ours else type(error).__name__
    mend = error.mend if isinstance(error, SpliceError) and ours else ""
    raise MaskingFailed(
        where, got=f"masking that failed: {got}", promised="nothing unmasked", mend=mend
    ) from None


class MaskedProvider:
    """A Provider that sees placeholders.

    Args:
        provider: The one that is asked.
        veil: Masks for it.
    """

    def __init__(self, provider: Provider, veil: Veil) -> None:
        self._provider = provider
        self._veil = veil

    @property
    def dialects(self) -> frozenset[Dialect]:
        """What the provider takes."""
        return self._provider.dialects

    def price(self, model: str) -> Price | None:
        """What the provider asks."""
        return self._provider.price(model)

    async def send(self, request: WireRequest) -> WireReply:
        """The answer, with values.

        Raises:
            MaskingFailed: The request could not be masked; the provider was not asked.
            RouteError, RequestError: As the provider.
        """
        masked, filler = await self._masked(request)
        return filler.reply(await self._provider.send(masked))

    async def open(self, request: WireRequest) -> Stream:
        """The same as a stream.

        Raises:
            MaskingFailed: The request could not be masked; the provider was not asked.
            RouteError, RequestError: As the provider.
        """
        masked, filler = await self._masked(request)
        return FilledStream(await self._provider.open(masked), filler, request.dialect)

    async def complete(self, request: CompletionRequest) -> Completion:
        """The completion, with values.

        Raises:
            MaskingFailed: The request could not be masked; the provider was not asked.
            RouteError: As the provider.
        """
        started = time.monotonic()
        document = _encode(request.messages)
        veiled = await self._veil.within(document, request.model, request.timeout_s)
        left = request.timeout_s - (time.monotonic() - started)
        masked = masked_request(request, veiled, left)
        return filled_completion(await self._provider.complete(masked), veiled)

    async def models(self) -> list[str]:
        """Names of its models."""
        return await self._provider.models()

    async def close(self) -> None:
        """The provider is shared: whoever opened it closes it."""

    async def _masked(self, request: WireRequest) -> tuple[WireRequest, Filler]:
        started = time.monotonic()
        fields = dict(request.fields)
        where = request.model
        if request.dialect is Dialect.EMBEDDINGS and _has_tokens(fields.get("input")):
            raise MaskingFailed(
                where, got="tokens, in which no rule finds anything",
                promised="texts", mend="send the texts themselves",
            )  # fmt: skip
        seed = fields.pop("seed", None)  # random by its nature: a rule could take it for anything
        document = _encode({"fields": fields, "headers": request.headers})
        veiled = await self._veil.within(document, where, request.timeout_s)
        said = _decode(veiled.document, type=_Wire)
        fields = dict[str, Any](said.fields)
        if seed is not None:
            fields["seed"] = seed if _is_number(seed) else msgspec.Raw(b"0")
        masked = msgspec.structs.replace(
            request,
            fields=fields,
            headers=said.headers,
            timeout_s=max(0.001, request.timeout_s - (time.monotonic() - started)),
        )
        return masked, Filler(veiled)


def masked_request(request: CompletionRequest, veiled: Veiled, left: float) -> CompletionRequest:
    """A request whose messages are those of a veiled document, with so many seconds left."""
    messages = _decode(veiled.document, type=tuple[Message, ...])
    return msgspec.structs.replace(request, messages=messages, timeout_s=max(0.001, left))


def filled_completion(completion: Completion, veiled: Veiled) -> Completion:
    """A completion with values, and with what was masked in its question."""
    filler = Filler(veiled)
    text = filler.string(completion.text)
    return msgspec.structs.replace(completion, text=text, masked=filler.counts)


def _is_number(value: Any) -> bool:
    plain: Any = _decode(value) if isinstance(value, msgspec.Raw) else value
    return isinstance(plain, int)


def _has_tokens(value: Any) -> bool:
    plain: Any = _decode(value) if isinstance(value, msgspec.Raw) else value
    texts = cast("list[Any]", plain) if isinstance(plain, list) else [plain]
    return any(not isinstance(one, str) for one in texts)


class MaskedPredictor:
    """A Predictor over a model on another machine, which sees placeholders in texts.

    A number that a rule finds cannot be masked, as the model would not take a text in its place:
    then it is not asked.
    """

    immediate = False

    def __init__(self, predictor: Predictor, veil: Veil, label: str) -> None:
        self.inner = predictor
        self._veil = veil
        self._label = label

    async def predict(self, question: Question) -> Prediction:
        """The prediction, with values.

        Raises:
            MaskingFailed: The context could not be masked; the model was not asked.
            RouteError: As the model.
        """
        texts = dict(_texts(question.context))
        if not texts:
            return await _waited(self.inner, question)
        left = max(0.001, question.deadline - time.monotonic())
        veiled = await self._veil.within(_encode(texts), self._label, left)
        if not veiled.values:
            return await _waited(self.inner, question)
        said: dict[str, Any] = _decode(veiled.document)
        if set(said) != set(texts) or any(
            type(said[name]) is not type(_decode(_encode(texts[name]))) for name in texts
        ):
            raise MaskingFailed(
                self._label, got="a number, or a name of a field, in which a rule found something",
                promised="texts to mask", mend="leave it out of what context() gives",
            )  # fmt: skip
        asked = msgspec.structs.replace(question, context={**question.context, **said})
        prediction = await _waited(self.inner, asked)
        filler = Filler(veiled)
        value = prediction.value
        if isinstance(value, (str, list, dict)):
            value = filler.value(value)
        return msgspec.structs.replace(prediction, value=value, masked=filler.counts)

    async def close(self) -> None:
        """Close what it asks."""
        await self.inner.close()


async def _waited(predictor: Predictor, question: Question) -> Prediction:
    answer = predictor.predict(question)
    return answer if isinstance(answer, Prediction) else await answer


def _texts(context: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    """What of a context a rule could find something in."""
    for name, value in context.items():
        if isinstance(value, (str, list, tuple, dict)) or (
            isinstance(value, int) and not isinstance(value, bool)
        ):
            yield name, value
