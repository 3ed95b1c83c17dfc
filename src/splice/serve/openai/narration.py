"""A response object as it comes into being, told in the events of the Responses API."""

from __future__ import annotations

from typing import Any

import msgspec

from splice.core.errors import SpliceError
from splice.serve.openai.faults import shown

Fields = dict[str, Any]
_encode = msgspec.json.Encoder().encode

_PART_ITEM = {"output_text": "message", "refusal": "message", "reasoning_text": "reasoning"}
_PREFIX = {"message": "msg", "reasoning": "rs", "function_call": "fc"}


class _CallMade(msgspec.Struct):
    item: Fields
    position: int
    pieces: list[str]


class Narration:
    """Takes an answer piece by piece, tells each as events, and has the response in the end.

    Args:
        response: Its head, as `head_of` gives it; it grows in here.
        quiet: Tell nothing: only the response is wanted.
    """

    def __init__(self, response: Fields, *, quiet: bool = False) -> None:
        self.response = response
        self._quiet = quiet
        self._told: list[bytes] = []
        self._sequence = 0
        self._output: list[Fields] = response["output"]
        self._calls: dict[int, _CallMade] = {}
        self._item: Fields | None = None  # the message or reasoning that is open
        self._position = 0
        self._kind = ""  # of the part that is open
        self._index = 0
        self._pieces: list[str] = []
        self._logprobs: list[Any] = []

    def told(self) -> bytes:
        """The events since it was last asked."""
        told, self._told = self._told, []
        return b"".join(told)

    def begin(self) -> None:
        """Nothing is known yet but that it was asked."""
        self._tell("response.created", response=self.response)
        self._tell("response.in_progress", response=self.response)

    def say(self, kind: str, delta: str, logprobs: list[Any] | None = None) -> None:
        """A piece of a part of some kind: `output_text`, `refusal` or `reasoning_text`."""
        wanted, item = _PART_ITEM[kind], self._item
        if item is None or item["type"] != wanted:
            self._end_item("completed")
            item = self._begin_item(wanted)
        if self._kind != kind:
            self._end_part(item)
            self._begin_part(item, kind)
        self._pieces.append(delta)
        more: Fields = {"logprobs": logprobs or []} if kind == "output_text" else {}
        self._logprobs += logprobs or ()
        self._tell_part(item, f"response.{kind}.delta", delta=delta, **more)

    def call(self, index: int, call_id: str, name: str, arguments: str) -> None:
        """A piece of the arguments of a function call; the first of an index also names it."""
        made = self._calls.get(index)
        if made is None:
            self._end_item("completed")
            item = self._new_item("function_call")
            item |= {
                "call_id": call_id or f"call_{item['id'][3:]}", "name": name, "arguments": "",
            }  # fmt: skip
            made = self._calls[index] = _CallMade(item, len(self._output) - 1, [])
            self._tell("response.output_item.added", output_index=made.position, item=item)
        if arguments:
            made.pieces.append(arguments)
            self._tell(
                "response.function_call_arguments.delta",
                item_id=made.item["id"], output_index=made.position, delta=arguments,
            )  # fmt: skip

    def end(self, finish_reason: str, usage: Fields | None) -> None:
        """The regular end, by the reason that chat completions give."""
        cut = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(finish_reason)
        status = "completed" if cut is None else "incomplete"
        self._end_all(status)
        self.response["status"] = status
        self.response["usage"] = usage
        if cut is not None:
            self.response["incomplete_details"] = {"reason": cut}
        self._tell(f"response.{status}", response=self.response)

    def fail(self, error: SpliceError) -> None:
        """It broke off: the response says so, and then an `error` event, which clients raise."""
        self._end_all("incomplete")
        self.response["status"] = "failed"
        said = shown(error)
        code = "rate_limit_exceeded" if said["code"] == "rate_limit_exceeded" else "server_error"
        self.response["error"] = {"code": code, "message": said["message"]}
        self._tell("response.failed", response=self.response)
        self._told.append(error_event(error, self._sequence))

    def _new_item(self, kind: str) -> Fields:
        position = len(self._output)
        stem = self.response["id"].removeprefix("resp_")
        item: Fields = {
            "id": f"{_PREFIX[kind]}_{stem}{position:04x}", "type": kind, "status": "in_progress",
        }  # fmt: skip
        self._output.append(item)
        return item

    def _begin_item(self, kind: str) -> Fields:
        item = self._new_item(kind)
        item["content"] = []
        if kind == "message":
            item["role"] = "assistant"
        else:
            item["summary"] = []
        self._item, self._position = item, len(self._output) - 1
        self._tell("response.output_item.added", output_index=self._position, item=item)
        return item

    def _end_item(self, status: str) -> None:
        item = self._item
        if item is None:
            return
        self._end_part(item)
        item["status"] = status
        self._item = None
        self._tell("response.output_item.done", output_index=self._position, item=item)

    def _begin_part(self, item: Fields, kind: str) -> None:
        self._kind, self._pieces, self._logprobs = kind, [], []
        self._index = len(item["content"])
        self._tell_part(item, "response.content_part.added", part=_part_of(kind, "", []))

    def _end_part(self, item: Fields) -> None:
        kind = self._kind
        if not kind:
            return
        text = "".join(self._pieces)
        part = _part_of(kind, text, self._logprobs)
        said: Fields = {"refusal": text} if kind == "refusal" else {"text": text}
        if kind == "output_text":
            said["logprobs"] = self._logprobs
        self._tell_part(item, f"response.{kind}.done", **said)
        self._tell_part(item, "response.content_part.done", part=part)
        item["content"].append(part)
        self._kind = ""

    def _end_all(self, status: str) -> None:
        self._end_item(status)
        for made in self._calls.values():
            item, arguments = made.item, "".join(made.pieces)
            item |= {"arguments": arguments, "status": status}
            self._tell(
                "response.function_call_arguments.done",
                item_id=item["id"], output_index=made.position, name=item["name"],
                arguments=arguments,
            )  # fmt: skip
            self._tell("response.output_item.done", output_index=made.position, item=item)
        self._calls = {}

    def _tell_part(self, item: Fields, kind: str, **more: Any) -> None:
        self._tell(
            kind, item_id=item["id"], output_index=self._position, content_index=self._index, **more
        )

    def _tell(self, kind: str, **more: Any) -> None:
        if not self._quiet:
            self._told.append(event(kind, self._sequence, more))
            self._sequence += 1


def event(kind: str, sequence: int, fields: Fields) -> bytes:
    """One server-sent event."""
    body = _encode({"type": kind, "sequence_number": sequence, **fields})
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), body)


def error_event(error: SpliceError, sequence: int) -> bytes:
    """The event with which a stream of a response ends before its time.

    The documented form has its fields at the top; OpenAI itself sends them within `error`, and its
    clients raise an error only for that. So it has both.
    """
    said = shown(error)
    flat = {"code": said["code"], "message": said["message"], "param": said["param"]}
    return event("error", sequence, {**flat, "error": said})


def _part_of(kind: str, text: str, logprobs: list[Any]) -> Fields:
    if kind == "output_text":
        return {"type": kind, "text": text, "annotations": [], "logprobs": logprobs}
    return {"type": kind, "refusal" if kind == "refusal" else "text": text}
