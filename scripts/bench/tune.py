"""`edgepress tune` on an example, killed on the way: does it find what plain int8 is not, how fast, and what is lost?

    python scripts/bench/tune.py run --max-size 400kB --max-drop 1% --trials 40
    python scripts/bench/tune.py share --max-size 400kB --max-drop 1% --trials 40
    python scripts/bench/tune.py render

`run` exports plain int8 under the budget, then tunes, is killed twice with SIGKILL, and goes on to the end; `share`
lets two processes work on one study. Both append to .bench/results.jsonl; `render` writes the section of
docs/benchmarks-compression.md.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

from models import HOME, ROOT
from results import load, record
from sections import table, write_section

from edgepress.profiles.machine.environment import this_machine

KILLS = 2
NOISE = "The clock's time is that of the machine at hand; decision 12 has that of a crowded one."
FINISHED = (
    "SELECT number, value_json FROM trials JOIN trial_user_attributes USING (trial_id) "
    "WHERE state IN ('COMPLETE', 'PRUNED') AND key = 'result' ORDER BY number"
)


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("run", "share", "render"))
    parser.add_argument("--model", default="digits")
    parser.add_argument("--max-size")
    parser.add_argument("--max-latency")
    parser.add_argument("--max-drop", default="1%")
    parser.add_argument("--trials", type=int, default=40)
    options = parser.parse_args()
    if options.part == "render":
        write_section("tune", _section())
        return
    limits = {"--max-size": options.max_size, "--max-latency": options.max_latency, "--max-drop": options.max_drop}
    budget = [word for name, value in limits.items() if value for word in (name, value)]
    directory = HOME / "tune" / options.part
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    (_run if options.part == "run" else _share)(options.model, budget, options.trials, directory)


def _run(model: str, budget: list[str], trials: int, directory: Path) -> None:
    """Plain int8 under the budget, then the search with two kills."""
    plain = _wait(_edgepress("export", model, budget, directory / "plain", "--precision", "int8"))
    words = ("--trials", str(trials))
    start, used, before = time.perf_counter(), _cpu_seconds(), []
    for kill in range(KILLS):
        process = _edgepress("tune", model, budget, directory, *words)
        while len(_finished(directory, model)) < (kill + 1) * trials // (KILLS + 2) and process.poll() is None:
            time.sleep(0.2)
        process.send_signal(signal.SIGKILL)
        process.wait()
        before.append(_finished(directory, model))
    code = _wait(_edgepress("tune", model, budget, directory, *words))
    seconds, used = time.perf_counter() - start, _cpu_seconds() - used
    after = _finished(directory, model)
    record(
        "tune",
        model=model,
        budget=" ".join(budget),
        trials=trials,
        plain_code=plain,
        plain=_bundle(directory / "plain" / f"{model}-cpu"),
        code=code,
        found=_bundle(directory / f"{model}-cpu") if code == 0 else None,
        chosen=_chosen(directory, model),
        seconds=seconds,
        cpu_seconds=used,
        finished=len(after),
        early=sum(bool(result["early"]) for result in after.values()),
        finished_at_kills=[len(results) for results in before],
        lost=sum(after.get(number) != result for results in before for number, result in results.items()),
        twice=_twice(after),
        machine=str(this_machine()),
    )


def _share(model: str, budget: list[str], trials: int, directory: Path) -> None:
    """Two processes on one study, the second without an end of its own."""
    words = ("--trials", str(trials))
    start = time.perf_counter()
    both = [_edgepress("tune", model, budget, directory, *words, *more) for more in ((), ("--search-only",))]
    codes = [_wait(process) for process in both]
    after = _finished(directory, model)
    record(
        "tune-share",
        model=model,
        budget=" ".join(budget),
        trials=trials,
        codes=codes,
        seconds=time.perf_counter() - start,
        finished=len(after),
        twice=_twice(after),
        machine=str(this_machine()),
    )


def _edgepress(command: str, model: str, budget: list[str], output: Path, *more: str) -> subprocess.Popen[bytes]:
    source = ROOT / "examples" / f"{model}.py"
    edgepress = Path(sys.executable).with_name("edgepress")
    return subprocess.Popen([edgepress, command, source, "-t", "cpu", "-o", output, *budget, *more])


def _cpu_seconds() -> float:
    """Of all processes that were waited for, killed ones included; other work on the machine does not stretch it."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _wait(process: subprocess.Popen[bytes]) -> int:
    return process.wait(timeout=3600)


def _finished(directory: Path, model: str) -> dict[int, dict[str, Any]]:
    """What finished trials found, by number."""
    path = directory / f"{model}-cpu.tune" / "study.db"
    if not path.exists():
        return {}
    try:
        with closing(sqlite3.connect(path, timeout=60)) as database:
            return {int(number): json.loads(text) for number, text in database.execute(FINISHED)}
    except sqlite3.OperationalError:
        return {}  # its tables are being made


def _twice(results: dict[int, dict[str, Any]]) -> int:
    """Points that were finished more than once."""
    counts = Counter(json.dumps(result["point"], sort_keys=True) for result in results.values())
    return sum(count > 1 for count in counts.values())


def _bundle(path: Path) -> dict[str, Any]:
    report = json.loads((path / "report.json").read_text())
    return {
        "size": report["sizes"]["engine"],
        "faster": report["faster"],
        "latency": report["latency"]["engine"]["intervals"]["50"],
        "metric": report["task"]["after"],
        "before": report["task"]["before"],
        "budget": {verdict["what"]: verdict["status"] for verdict in report["budget"]},
    }


def _chosen(directory: Path, model: str) -> dict[str, Any] | None:
    found = json.loads((directory / f"{model}-cpu.tune" / "results.json").read_text())
    return next((r["point"] for r in found["results"] if r["number"] == found["chosen"]), None)


def _section() -> list[str]:
    lines = [
        "## Tuning",
        "",
        "`edgepress tune` for `cpu` under a budget that plain int8 misses. The search is killed twice with SIGKILL on "
        "the way and started again; the time is that of all three starts, the final export included. *Lost* counts "
        "finished trials of an earlier start that are missing, or differ, at the end.",
        "",
    ]
    for run in load("tune"):
        lines += [*_one(run), ""]
    for run in load("tune-share"):
        lines.append(
            f"Two processes on one study of {run['model']} ({run['budget']}; one with `--search-only`): "
            f"{run['finished']} trials finished in {run['seconds']:.0f} s, {run['twice']} points finished twice, "
            f"exit codes {' and '.join(map(str, run['codes']))}."
        )
    commands = [("run", run) for run in load("tune")] + [("share", run) for run in load("tune-share")]
    lines += ["", NOISE, ""]
    lines += [
        f"    python scripts/bench/tune.py {part} {run['budget']} --trials {run['trials']}" for part, run in commands
    ]
    return lines


def _one(run: dict[str, Any]) -> list[str]:
    found = run["found"]
    rows = [["plain int8", *_cells(run["plain"])], *([["tuned", *_cells(found)]] if found else [])]
    point = ", ".join(f"{name} {value}" for name, value in (run["chosen"] or {}).items())
    kills = ", ".join(map(str, run["finished_at_kills"]))
    cpu = f" ({run['cpu_seconds']:.0f} s of CPU time)" if "cpu_seconds" in run else ""
    return [
        f"{run['model']}, `{run['budget']}`, on {run['machine']}:",
        "",
        table(["", "engine, kB", "median, ms", "metric (FP32)", "budget"], rows),
        f"Exit codes: plain int8 {run['plain_code']}, tune {run['code']}. Chosen: {point or 'nothing'}. "
        f"{run['finished']} trials, {run['early']} of them given up early, in {run['seconds']:.0f} s{cpu}. "
        f"Finished at the kills: {kills}; lost: {run['lost']}; finished twice: {run['twice']}.",
    ]


def _cells(bundle: dict[str, Any]) -> list[str]:
    latency = bundle["latency"]
    kept = ", ".join(f"{what} {status}" for what, status in bundle["budget"].items())
    return [
        f"{bundle['size'] / 1e3:.0f}",
        f"{latency['value']:.3f} [{latency['low']:.3f}, {latency['high']:.3f}]",
        f"{bundle['metric']:.4f} ({bundle['before']:.4f})",
        kept,
    ]


if __name__ == "__main__":
    main()
