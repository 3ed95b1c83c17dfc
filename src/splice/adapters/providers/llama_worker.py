"""The child process of LlamaProvider: llama.cpp by xllamacpp, spoken to over stdin and stdout.

Started as `python -m splice.adapters.providers.llama_worker`. First frame in: the configuration;
first frame out: `ready` or `failed`. Then `complete` and `cancel` in, `answer` and `error` out.
When stdin ends, the process ends.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO, cast

import msgspec

from splice.adapters.child.conduct import die_with, leave_signals_to_parent
from splice.adapters.providers.frames import Frame, read_frame, write_frame

_BATCH = 64
"""Tokens of a prompt that llama.cpp reads between two looks at a cancellation.

Measured with SmolLM2-135M on one thread: a prompt of 1,631 tokens takes 7.9 s at 64 and at 128,
7.8 s at 256, 8.8 s at 512; and a cancelled one stops after 0.3 s at 64, 1.0 s at 256.
"""


class Worker:
    """Answers frames with a loaded model."""

    def __init__(self, server: Any, out: BinaryIO, config: Frame) -> None:
        self._server = server  # xllamacpp.Server, which has no types
        self._out = out
        self._max_tokens = int(config["max_tokens"])
        self._pool = ThreadPoolExecutor(int(config["parallel"]), "llama")
        self._cancelled: dict[int, threading.Event] = {}
        self._lock = threading.Lock()

    def say(self, frame: Frame) -> None:
        """Send one frame whole."""
        with self._lock:
            write_frame(self._out, frame)

    def take(self, frame: Frame) -> None:
        """Act on one frame of the parent."""
        number = int(frame["id"])
        if frame["do"] == "complete":
            stop = self._cancelled[number] = threading.Event()
            chunks = bool(frame.get("chunks"))
            self._pool.submit(self._complete, number, frame["body"], stop, chunks)
        elif (cancelled := self._cancelled.get(number)) is not None:
            cancelled.set()

    def _complete(self, number: int, body: Frame, stop: threading.Event, chunks: bool) -> None:
        heard = Heard(stop, (lambda c: self.say({"id": number, "chunk": c})) if chunks else None)
        try:
            answer = {"cancelled": True} if stop.is_set() else self._answer(body, heard)
        except Exception as error:  # noqa: BLE001 - the task ends here; the parent raises it
            answer = {"error": str(error) or type(error).__name__}
        self._cancelled.pop(number, None)
        self.say({"id": number, **answer})

    def _answer(self, body: Frame, heard: Heard) -> Frame:
        schema = body.pop("schema", None)
        asked: Frame = {"max_tokens": self._max_tokens, **body}
        asked |= {"stream": True, "stream_options": {"include_usage": True}}
        asked["return_progress"] = True  # calls back after every batch of the prompt, too
        if schema is not None:
            asked["grammar"] = _grammar(schema)
        self._server.handle_chat_completions(asked, heard.hear)
        if heard.error:
            return {"error": heard.error, "code": heard.code}
        if heard.stopped:
            return {"cancelled": True}
        return {"text": heard.text, "finish_reason": heard.finish_reason, "usage": heard.usage}


class _Delta(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Fault(msgspec.Struct):
    message: str = "an error without a message"
    code: int = 0


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []
    usage: dict[str, Any] | None = None  # handed on as llama.cpp counted it
    error: _Fault | None = None
    prompt_progress: Any = None


class Heard:
    """Collects the chunks of one streamed answer; asks llama.cpp to stop once nobody waits.

    `pass_on` gets each chunk of the answer as it comes.
    """

    def __init__(
        self, stop: threading.Event, pass_on: Callable[[object], None] | None = None
    ) -> None:
        self._stop = stop
        self._pass_on = pass_on
        self.code = 0
        self.text = ""
        self.finish_reason = ""
        self.error = ""
        self.usage: Frame = {}

    def hear(self, chunk: object) -> bool:
        """Take one chunk, or several; True stops llama.cpp."""
        for part in cast("list[object]", chunk if isinstance(chunk, list) else [chunk]):
            known = msgspec.convert(part, _Chunk)
            self._take(known)
            if self._pass_on is not None and not self.error and known.prompt_progress is None:
                self._pass_on(part)
        return bool(self.error) or self._stop.is_set()

    @property
    def stopped(self) -> bool:
        """Whether nobody waits any more."""
        return self._stop.is_set()

    def _take(self, chunk: _Chunk) -> None:
        if chunk.error is not None:
            self.error = chunk.error.message
            self.code = chunk.error.code
        for choice in chunk.choices:
            self.text += (choice.delta.content if choice.delta is not None else None) or ""
            self.finish_reason = choice.finish_reason or self.finish_reason
        self.usage = chunk.usage or self.usage


def _grammar(schema: Frame) -> str:
    """The schema as a grammar that leaves out white space.

    Small models otherwise spend tokens on indentation, or write line ends without an end.
    Measured with SmolLM2-135M, twelve tickets: 7.0 tokens and 0.16 s a label, against 16.1 tokens
    and 0.35 s by `response_format`; as many labels were right.
    """
    import xllamacpp  # pyright: ignore[reportMissingTypeStubs]

    compact = {**schema, "x-guidance": {"whitespace_flexible": False}}
    text = cast("Any", xllamacpp).json_schema_to_grammar(compact)
    return str(text)


def _load(config: Frame) -> Any:
    """The model, loaded and warmed up, with no way in from outside.

    xllamacpp 2026.10 always opens an HTTP server, with open CORS and no key. It gets a socket in a
    private directory and a random key; the directory goes as soon as the server is up, so that no
    path leads to it any more.
    """
    import xllamacpp  # pyright: ignore[reportMissingTypeStubs]

    library = cast("Any", xllamacpp)
    params = library.CommonParams()
    params.model.path = str(config["model_path"])
    params.n_parallel = int(config["parallel"])
    params.n_ctx = int(config["context"]) * params.n_parallel  # llama.cpp splits it by slots
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = int(config["threads"])
    params.n_batch = params.n_ubatch = _BATCH
    params.cache_ram_mib = 0
    params.n_threads_http = 1
    params.n_gpu_layers = 0
    params.ui = False
    params.verbosity = 0  # its log would hold prompts
    private = tempfile.mkdtemp(prefix="splice-")
    try:
        params.hostnames = [f"{private}/s.sock"]
        params.api_keys = [secrets.token_hex(32)]
        return library.Server(params)
    finally:
        shutil.rmtree(private, ignore_errors=True)


def main() -> None:
    """Serve frames until stdin ends."""
    # llama.cpp prints to file descriptor 1 from C: what it writes must not land between two
    # frames, so the pipe moves to another descriptor and 1 becomes the standard error.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    leave_signals_to_parent()
    config = read_frame(sys.stdin.buffer)
    if config is None:
        return
    die_with(int(config["parent"]))
    try:
        worker = Worker(_load(config), out, config)
    except Exception as error:  # noqa: BLE001 - the process ends here; the parent raises it
        missing = isinstance(error, ImportError)
        write_frame(out, {"failed": str(error) or type(error).__name__, "missing": missing})
        return
    worker.say({"ready": True})
    while (frame := read_frame(sys.stdin.buffer)) is not None:
        worker.take(frame)
    # Not by returning: that would wait for completions which nobody will read.
    os._exit(0)


if __name__ == "__main__":
    try:
        main()
    except (msgspec.DecodeError, BrokenPipeError):
        os._exit(1)
