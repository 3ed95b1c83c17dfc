"""The real MLflow client, in a Python of its own, that logs and loads models as its users do."""

from __future__ import annotations

import json
import subprocess
import sysconfig
import textwrap
from pathlib import Path
from typing import Any

PYTHON = Path(__file__).parents[2] / ".services" / "mlflow" / "venv" / "bin" / "python"


def client(url: str, code: str, **given: Any) -> Any:
    """What `code` leaves in `answer`, run by MLflow's own Python with its client at that server.

    What that Python has not (onnx, lightgbm, …) it finds among our packages, after its own.
    """
    program = textwrap.dedent("""
        import json, logging, sys
        sys.path.append(sys.argv[1])
        given = json.loads(sys.argv[3])
        import mlflow
        logging.getLogger("mlflow").setLevel(logging.ERROR)
        mlflow.set_tracking_uri(sys.argv[2])
        answer = None
    """) + textwrap.dedent(code)
    program += "\nprint('\\n@@' + json.dumps(answer))\n"
    done = subprocess.run(
        [PYTHON, "-W", "ignore", "-c", program, sysconfig.get_paths()["purelib"], url,
         json.dumps(given)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.rpartition("@@")[2])
