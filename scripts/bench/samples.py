"""How many calibration samples are enough: SQNR on held-out data against the number of them.

    python scripts/bench/samples.py measure
    python scripts/bench/samples.py render          # writes the table into docs/calibration.md

Each figure is the mean over calibration subsets drawn at random, with the range over them.
"""

from __future__ import annotations

import argparse

import numpy as np
from accuracy import measure_accuracy
from models import MODELS, ROOT
from results import load

COUNTS = (8, 16, 32, 64, 128, 256, 512)
NAMES = ("digits", "mobilenet", "vit", "minilm")
PAGE = ROOT / "docs" / "calibration.md"
BEGIN, END = "<!-- samples: written by scripts/bench/samples.py -->", "<!-- end of samples -->"


def main() -> None:
    """Measure, or write what was measured into the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("measure", "render"))
    parser.add_argument("--models", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--seeds", type=int, default=5, help="calibration subsets of each size")
    options = parser.parse_args()
    if options.part == "measure":
        for name in options.models:
            MODELS[name].prepare()
        for count in COUNTS:
            measure_accuracy(options.models, ["edgepress"], count, ["x86"], options.seeds)
        return
    text = PAGE.read_text(encoding="utf-8")
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}", encoding="utf-8")


def table() -> str:
    """dB, mean and range over the subsets, on onnxruntime; a row a count."""
    found = [line for line in load("accuracy") if line["tool"] == "edgepress" and line["runtime"] == "onnxruntime"]
    names = [name for name in NAMES if any(line["model"] == name for line in found)]
    rows = ["| samples | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    for count in COUNTS:
        cells = []
        for name in names:
            values = [line["sqnr_db"] for line in found if (line["model"], line["n"]) == (name, count)]
            cells.append(f"{np.mean(values):.1f} ({min(values):.1f} to {max(values):.1f})" if values else "")
        rows.append(f"| {count} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
