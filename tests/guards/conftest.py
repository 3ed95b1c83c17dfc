from __future__ import annotations

import sys
from pathlib import Path

# The houses of the engine's own tests serve here too.
sys.path.append(str(Path(__file__).parents[1] / "engine"))
