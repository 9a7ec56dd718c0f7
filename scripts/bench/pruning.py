"""Pruned against unpruned int8 engines on this CPU: `python scripts/bench/pruning.py export`, then `measure`, `render`.

`export` makes both bundles with the command a user types; `measure` runs both engines in turn; `render` writes the
section of docs/benchmarks-compression.md.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

from models import HOME, ROOT
from results import load, record
from sections import table, write_section

from edgepress.backends.registry import load_backend, tool_versions
from edgepress.exporter.bundle.manifest import load_bundle
from edgepress.exporter.bundle.seal import load_report
from edgepress.exporter.capture.golden import Golden
from edgepress.profiles.findings.report import Report
from edgepress.profiles.machine.environment import this_machine, usable_cores
from edgepress.profiles.timing.measure import Settings, measure
from edgepress.profiles.timing.ratio import speedup

# One inference of mobilenet is calls of small layers: at 0.5 it loses one block of them, at 0.6 two.
CASES = {
    "digits": ("--prune", "0.5"),
    "mobilenet": ("--prune", "0.6", "--epochs", "30"),
    "vit": ("--prune", "0.4"),
}
TARGET = "cpu"
# Short slices: both engines meet the quiet moments of a machine that is shared.
SETTINGS = Settings(seconds=15.0, slice_seconds=0.1)
OUT = HOME / "pruning"


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("export", "measure", "render"))
    parser.add_argument("--models", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--threads", type=int, default=usable_cores(), help="of the engines, for measure")
    options = parser.parse_args()
    if options.part == "render":
        write_section("pruning", _section())
    for name in options.models if options.part != "render" else ():
        if options.part == "export":
            _export(name)
        else:
            _measure(name, options.threads)


def _command(name: str, pruned: bool) -> list[str]:
    words = ["edgepress", "export", f"examples/{name}.py", "-t", TARGET, "--precision", "int8", "--force"]
    return [*words, *(CASES[name] if pruned else ("--no-measure",))]


def _export(name: str) -> None:
    for pruned in (False, True):
        words = [*_command(name, pruned), "-o", str(_directory(pruned)), "-q"]
        subprocess.run([str(Path(sys.executable).with_name(words[0])), *words[1:]], cwd=ROOT, check=True)


def _measure(name: str, threads: int) -> None:
    """Interleave the two engines on one inference, and on a batch of the usual size."""
    bundles = [load_bundle(_directory(pruned) / f"{name}-{TARGET}") for pruned in (False, True)]
    report = load_report(bundles[1].path)
    assert report.pruning is not None and report.task is not None
    unpruned = load_report(bundles[0].path)
    golden = Golden.load(bundles[0].path / "golden")
    backend = load_backend("openvino")
    engines = [bundle.engine for bundle in bundles]
    sessions = [backend.open(engine, threads) for engine in engines if engine is not None]
    found = {}
    for label, feed in (("one", golden.feeds[0]), ("batch", golden.feeds[1])):
        arms = {"unpruned": lambda f=feed: sessions[0](f), "pruned": lambda f=feed: sessions[1](f)}
        measured = measure(arms, SETTINGS)
        ratio = speedup(measured["unpruned"], measured["pruned"])
        found[label] = [ratio.value, ratio.low, ratio.high]
        found[f"{label}_ms"] = [measured[arm].percentile(50) for arm in arms]
        found[f"{label}_shape"] = [list(array.shape) for array in feed.values()]
    record(
        "pruning",
        model=name,
        tool="edgepress",
        runtime=f"{threads} threads",
        threads=threads,
        **_figures(report, unpruned),
        **found,
    )


def _figures(report: Report, unpruned: Report) -> dict[str, Any]:
    pruning = report.pruning
    assert pruning is not None and report.task is not None and unpruned.task is not None
    return {
        "asked": pruning.asked,
        "removed": pruning.removed,
        "macs": [pruning.macs_before, pruning.macs_after],
        "given": report.task.before,
        "unpruned": unpruned.task.after,
        "pruned": report.task.after,
        "ranked_by": pruning.ranked_by,
        "groups": [str(group) for group in pruning.groups],
        "machine": str(this_machine()),
        "tools": {name: version for name, version in tool_versions().items() if name in ("torch", "openvino")},
    }


def _directory(pruned: bool) -> Path:
    return OUT / ("pruned" if pruned else "unpruned")


def _section() -> list[str]:
    lines = [line for line in load("pruning") if "threads" in line]
    models, threads = {line["model"]: line for line in lines}, [line["threads"] for line in lines]
    rows = [
        (
            line["model"],
            str(line["threads"]),
            f"{line['macs'][0] / 1e6:.2f} M",
            f"{line['removed']:.1%}",
            f"{line['given']:.4f}",
            f"{line['unpruned']:.4f}",
            f"{line['pruned']:.4f}",
            _times(line["one"]),
            _times(line["batch"]),
        )
        for line in lines
    ]
    head = (
        "model",
        "threads",
        "MACs",
        "removed",
        "as given",
        "int8",
        "pruned int8",
        "faster, one",
        "faster, batch of 8",
    )
    return [
        "## Pruning: int8 engines with and without\n",
        "Accuracy on 500 held-out images, of the model as given in FP32, of its int8 engine, and of the pruned,\n"
        "trained and quantized one, whose training kept the epoch that is best on these same images. How many times\n"
        "faster the pruned int8 engine is than the unpruned int8 one on\n"
        "`cpu` (OpenVINO), one image and eight, with its 95 % interval; both measured in turn in one process.\n",
        table(head, rows),
        *(
            f"{line['model']}: {'; '.join(line['groups'])}. Ranked by {line['ranked_by']}.\n"
            for line in models.values()
        ),
        f"Machine: {lines[-1]['machine']}; {', '.join(f'{n} {v}' for n, v in lines[-1]['tools'].items())}.\n",
        *(f"    {' '.join(_command(name, True))}" for name in models),
        "    python scripts/bench/pruning.py export",
        *(f"    python scripts/bench/pruning.py measure --threads {count}" for count in sorted({*threads})),
    ]


def _times(ratio: list[float]) -> str:
    value, low, high = ratio
    return f"{value:.2f}x [{low:.2f}, {high:.2f}]"


if __name__ == "__main__":
    main()
