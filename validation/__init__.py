"""Empirical studies, one folder each; run from the root of the repository with python -m."""

import sys
from pathlib import Path

# the reference integrators live with the tests
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
