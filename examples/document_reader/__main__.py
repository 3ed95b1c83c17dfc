"""`python -m document_reader`: one JSON line in, `{"path": …}`, one JSON line out, until the end.

It may take 4 GB of memory and no more; whoever asks kills it when it takes too long.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import warnings
from typing import Any

from document_reader.reading import Reader

MEMORY = 4 << 30
"""Address space, in bytes. 0.8 GB is used at most with the samples; threads map more than that."""


def confine() -> None:
    """No more memory than that, and no core files; where the system knows such limits."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main() -> None:
    """Answer one line after the other."""
    confine()
    logging.disable()  # parsers tell at length what is wrong with a file
    warnings.simplefilter("ignore")
    # What libraries print must not stand between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    reader = Reader()
    for line in sys.stdin:
        found: dict[str, Any] = reader.read(json.loads(line)["path"])
        answers.write(json.dumps(found) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
