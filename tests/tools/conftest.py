"""Lets the tests import the scripts of tools/ and benchmarks/ as the scripts import each other."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

for folder in (ROOT, ROOT / "tools" / "studio"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
