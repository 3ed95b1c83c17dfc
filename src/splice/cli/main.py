"""`splice`: the entry point."""

from __future__ import annotations

import sys

from splice.cli.common import fail
from splice.cli.tree import first_word, tree
from splice.core.errors import SpliceError


def main() -> None:
    """Run a command; an error of ours is one message and an exit code, never a traceback."""
    try:
        tree(first_word(sys.argv[1:]))(prog_name="splice")
    except SpliceError as error:
        raise SystemExit(fail(error).exit_code) from None


if __name__ == "__main__":
    main()
