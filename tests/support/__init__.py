"""What the tests on real clusters share."""

from __future__ import annotations

import sys
from pathlib import Path

# pytest finds what starts clusters by itself (pythonpath); measurements (benchmarks/) use these modules without it.
sys.path.append(str(Path(__file__).resolve().parents[2] / "cluster"))
