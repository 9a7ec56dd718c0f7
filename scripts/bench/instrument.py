"""What should the choice of a precision rest on: slices in one process, in one an arm, or turns of fresh processes?

    python scripts/bench/instrument.py run --count 20
    python scripts/bench/instrument.py render

`run` takes each instrument in turn on the same pair: one engine twice (A/A), and a graph of 40 equal convolutions with
one of 42 (A/B, 5 % more work), every other time the other way round. A measurement is a process of its own, given as
much time as an export takes for two arms. `render` writes the section of docs/benchmarks-measurement.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from chain import chain
from models import HOME
from results import RAW, load, record
from sections import MEASUREMENT, table, write_section

from edgepress.backends.places import load_place
from edgepress.exporter.measuring.compare import Rules, compare
from edgepress.exporter.measuring.subject import open_subject, this_setup
from edgepress.profiles.machine.environment import this_machine
from edgepress.profiles.timing.measure import measure
from edgepress.profiles.timing.ratio import speedup
from edgepress.profiles.timing.significance import claim

WORK = HOME / "instrument"
KINDS = {"aa": (40, 40), "ab": (40, 42)}
INSTRUMENTS = {
    "local": "slices, one process",
    "worker": "slices, a process an arm",
    "turns": "turns, pairs of fresh processes",
}
SECONDS = 25.0  # what an export takes to measure two arms


def main() -> None:
    """Run or render; `one` is a measurement, in a process that `run` starts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("run", "one", "render"))
    parser.add_argument("words", nargs="*")
    parser.add_argument("--count", type=int, default=20, help="measurements of each kind with each instrument")
    options = parser.parse_args()
    if options.part == "render":
        write_section("instrument", _section(), MEASUREMENT)
    elif options.part == "one":
        print(json.dumps(_one(*options.words)))
    else:
        for index in range(options.count):
            for kind in KINDS:
                for instrument in INSTRUMENTS:
                    _run(instrument, kind, index)


def _run(instrument: str, kind: str, index: int) -> None:
    tool = f"{kind}-{instrument}"
    if RAW.exists() and any(line["tool"] == tool and line["repetition"] == index for line in load("instrument")):
        return
    layers = KINDS[kind] if index % 2 == 0 else KINDS[kind][::-1]
    files = [str(chain(WORK / f"chain-{number}.onnx", number)) for number in layers]
    begun = time.monotonic()
    done = subprocess.run([sys.executable, __file__, "one", instrument, *files], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    record(
        "instrument",
        tool=tool,
        repetition=index,
        swapped=index % 2 == 1,
        seconds=round(time.monotonic() - begun, 1),
        load=os.getloadavg()[0],
        machine=str(this_machine()),
        **json.loads(done.stdout.splitlines()[-1]),
    )


def _one(instrument: str, first: str, second: str) -> dict[str, Any]:
    """The ratio of the first's latency to the second's, and what is claimed of the second."""
    setup = this_setup(1)
    with open_subject(Path(first), "cpu") as a, open_subject(Path(second), "cpu") as b, ExitStack() as opened:
        if instrument == "turns":
            found = compare(a, b, setup, Rules(seconds=SECONDS), "", lambda share: None).outcome
            return {"ratio": [found.ratio.value, found.ratio.low, found.ratio.high], "claim": found.verdict}
        place = load_place(instrument)
        sessions = [opened.enter_context(place.open(subject.engine, 1)) for subject in (a, b)]
        timed = measure({"a": sessions[0].arm(a.feed), "b": sessions[1].arm(a.feed)})
        ratio = speedup(timed["a"], timed["b"])
    return {"ratio": [ratio.value, ratio.low, ratio.high], "claim": claim(ratio)}


def _section() -> list[str]:
    lines = [
        "## The instrument of the choice",
        "",
        "Which of two precisions is faster, asked of the same pair in turn: one engine twice (A/A), and a graph of 40 "
        "equal convolutions with one of 42 (A/B, 5 % more work). *Wrong* is a claim in A/A, or of the wrong direction "
        "in A/B. The load is the median of the machine's own figure.",
        "",
    ]
    rows = [_row(kind, instrument) for kind in KINDS for instrument in INSTRUMENTS]
    head = ["", "instrument", "n", "claimed", "wrong", "ratio, 5 to 95 %", "seconds", "load"]
    machines = "; ".join(sorted({line["machine"] for line in load("instrument")}))
    return [*lines, table(head, rows), f"On {machines}.", "", "    python scripts/bench/instrument.py run --count 5"]


def _row(kind: str, instrument: str) -> list[str]:
    found = [line for line in load("instrument") if line["tool"] == f"{kind}-{instrument}"]
    claims = [line for line in found if line["claim"] != "no difference shown"]
    right = [x for x in claims if kind == "ab" and x["claim"] == ("faster" if x["swapped"] else "slower")]
    ratios = [line["ratio"][0] ** (1 if line["swapped"] else -1) for line in found]
    low, high = np.percentile(ratios, [5, 95])
    return [
        f"{kind[0].upper()}/{kind[1].upper()}",
        INSTRUMENTS[instrument],
        str(len(found)),
        str(len(claims)),
        str(len(claims) - len(right)),
        f"{low:.3f} to {high:.3f}",
        f"{np.median([line['seconds'] for line in found]):.0f}",
        f"{np.median([line['load'] for line in found]):.1f}",
    ]


if __name__ == "__main__":
    main()
