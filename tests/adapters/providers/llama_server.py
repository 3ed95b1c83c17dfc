"""A real llama.cpp server in a process of its own, with the model that `scripts/models` installs.

Use it as `with llama_server() as url:`; the URL ends with `/v1`. It listens on the loopback
interface only, on a free port: it has no API key, and open CORS.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import textwrap
from collections.abc import Iterator

from splice.adapters.providers.llama import shipped_model

MODEL = "smollm2"

_RUN = """
    import sys
    import xllamacpp
    params = xllamacpp.CommonParams()
    params.model.path = sys.argv[1]
    params.model_alias = {sys.argv[2]}
    params.n_ctx, params.n_parallel, params.cpuparams.n_threads = 4096, 2, 1
    params.hostnames, params.port, params.verbosity = ["127.0.0.1"], 0, 0
    if sys.argv[3] == "embeddings":
        params.embedding = True
        params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
        params.n_ubatch = params.n_batch
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def llama_server(*, embeddings: bool = False) -> Iterator[str]:
    """The base URL of a running server; one that makes embeddings makes nothing else."""
    kind = "embeddings" if embeddings else "chat"
    command = [sys.executable, "-c", textwrap.dedent(_RUN), str(shipped_model()), MODEL, kind]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as child:
        assert child.stdout is not None
        address = child.stdout.readline().decode().strip()
        if not address:
            child.kill()
            raise RuntimeError("llama.cpp's server did not start")
        try:
            yield address + "/v1"
        finally:
            child.kill()
