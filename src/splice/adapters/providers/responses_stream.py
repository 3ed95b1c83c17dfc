"""A streamed response (OpenAI's Responses API)."""

from __future__ import annotations

import msgspec

from splice.adapters.net.answers import HttpStream
from splice.adapters.providers.assemble_responses import ENDS, ResponseAssembly, ResponseEvent
from splice.adapters.providers.event_stream import Asking, EventStream
from splice.adapters.providers.usage import estimated_usage
from splice.core.chat import Dialect, WireReply
from splice.core.errors import SpliceError

_EVENT = msgspec.json.Decoder(ResponseEvent)


class ResponsesStream(EventStream):
    """Ends with `response.completed` or `response.incomplete`."""

    def __init__(self, http: HttpStream, asking: Asking) -> None:
        super().__init__(http, asking)
        self._whole = ResponseAssembly()

    @property
    def started(self) -> bool:
        """See `splice.ports.providers.Stream`."""
        return self._whole.started

    def reply(self) -> WireReply:
        """See `splice.ports.providers.Stream`."""
        asking, whole = self._asking, self._whole
        usage = whole.usage
        if usage is None:
            usage = estimated_usage(asking.input_tokens, *whole.written)
        model = asking.refusals.hide(whole.read().model or asking.model)
        cost = asking.cost(usage, model)
        body = whole.body(asking.model)
        return WireReply(Dialect.RESPONSES, body, usage, model, cost, complete=self._complete)

    def _take(self, kind: bytes, data: bytes) -> bool:
        if data == b"[DONE]":  # some servers that imitate it end so
            if self._whole.ended:
                self._end()
            return True
        try:
            event = _EVENT.decode(data)
        except msgspec.ValidationError:
            self._whole.started = True  # the caller may understand it, and it was paid for
            return True
        except (msgspec.DecodeError, UnicodeDecodeError):
            self._garbled(data)
            return False
        event.type = event.type or kind.decode("utf-8", "replace")
        if event.type == "error" or (not event.type and event.error is not msgspec.UNSET):
            self._fail(self._told(event))
            return False
        self._whole.add(event)
        if event.type == "response.failed":
            fault = self._whole.read().error
            error = {} if fault is None else {"message": fault.message, "code": fault.code}
            self._fail(self._asking.refusals.told(self._asking.where, error))
            return False
        if event.type in ENDS:
            self._end()
        return True

    def _told(self, event: ResponseEvent) -> SpliceError:
        error: object = {"message": event.message, "code": event.code, "param": event.param}
        if event.error is not msgspec.UNSET:
            error = msgspec.json.decode(event.error)
        return self._asking.refusals.told(self._asking.where, error)

    def _at_end(self) -> bool:
        return self._whole.ended
