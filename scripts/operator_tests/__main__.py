"""Run the tests, or render what they gave."""

from __future__ import annotations

import argparse
from pathlib import Path

from operator_tests.page import render
from operator_tests.trials import run

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="scripts/operators", description="The operator tests of the onnx package.")
    parser.add_argument("what", choices=("run", "render"))
    parser.add_argument("file", type=Path, metavar="FILE", help="a JSON line each; those in it are not run again")
    parser.add_argument("processes", type=int, nargs="?", default=2)
    given = parser.parse_args()
    if given.what == "render":
        (Path(__file__).resolve().parents[2] / "docs/operators.md").write_text(render(given.file), encoding="utf-8")
    else:
        run(given.file, processes=given.processes)
