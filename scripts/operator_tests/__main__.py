"""Run the tests, or render what they gave."""

from __future__ import annotations

import sys
from pathlib import Path

from operator_tests.page import render
from operator_tests.trials import run

if __name__ == "__main__":
    what, file = sys.argv[1], Path(sys.argv[2])
    if what == "render":
        (Path(__file__).resolve().parents[2] / "docs/operators.md").write_text(render(file), encoding="utf-8")
    else:
        run(file, processes=int(sys.argv[3]) if len(sys.argv) > 3 else 2)
