"""The package that starts clusters is no part of the collection: it is found in `cluster/` of the checkout."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "cluster"))
