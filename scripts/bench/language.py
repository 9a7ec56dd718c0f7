"""Language models: what edgepress and its peers make of the same directory, in size, quality, cost and speed.

    scripts/bench/setup_language                                # the peers' environment, under .bench
    python scripts/bench/language.py quality smol=DIR --peers PYTHON [--tools NAME…]
    python scripts/bench/language.py speed smol=DIR --peers PYTHON --tools NAME…
    python scripts/bench/language.py render

`quality` makes the directory of each tool, once, and judges it on the same text by the same evaluator. Results go to
.bench/results.jsonl as JSON lines; `render` adds them to docs/benchmarks-language.jsonl, which has those of all
machines, and writes the tables of docs/benchmarks-language.md from that.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from language_judge import reference
from language_speed import NEW
from language_tables import section
from language_text import calibration
from language_tools import TOOLS, Tool, engine, make
from models import HOME, ROOT
from results import RAW, keep, record
from sections import write_section

from edgepress.profiles.machine.environment import this_machine

WORK = HOME / "language"
DEPTHS = (128, 1024)
DOCUMENT = ROOT / "docs" / "benchmarks-language.md"
KINDS = ("language-made", "language-quality", "language-speed")


def main() -> None:
    """Quality, speed or render."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("quality", "speed", "render"))
    parser.add_argument("models", nargs="*", metavar="NAME=DIR", help="a Hugging Face directory, and what to call it")
    parser.add_argument("--peers", default=str(HOME / "language-peers" / "bin" / "python"), help="their Python")
    parser.add_argument("--tools", nargs="+", default=list(TOOLS), choices=list(TOOLS), metavar="NAME")
    parser.add_argument("--how", nargs="+", default=["weights", "runs"], choices=("weights", "runs"))
    parser.add_argument("--again", action="store_true", help="make and judge what is there already")
    parser.add_argument("--rounds", type=int, default=5, help="of `speed`: how often each is timed, in turn")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of `speed`")
    parser.add_argument(
        "--shared", action="store_true", help="convert once for all settings of optimum-intel: no costs"
    )
    options = parser.parse_args()
    if options.part == "render":
        kept = DOCUMENT.with_suffix(".jsonl")
        keep(KINDS, kept)
        write_section("language", list(section(kept)), DOCUMENT)
        return
    texts = _texts()
    for name, _, directory in (model.partition("=") for model in options.models):
        kept = WORK / name / "reference"
        # In a process of its own: Linux counts what its parent has held as a child's peak, too.
        with ProcessPoolExecutor(1, get_context("spawn")) as other:
            other.submit(reference, Path(directory), kept).result()
        if options.part == "speed":
            _timed(name, Path(directory), options)
            continue
        for tool in (TOOLS[each] for each in options.tools):
            _made(name, Path(directory).resolve(), tool, texts, options)
            for how in options.how if tool.runtime != "torch" else ("weights",):
                _judged(name, tool, kept, how, options.again)


def _texts() -> Path:
    """The calibration text as a JSON list, and as one file with a blank line between the samples."""
    path = WORK / "texts.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = calibration()
    path.write_text(json.dumps(texts))
    path.with_suffix(".txt").write_text("\n\n".join(texts), encoding="utf-8")
    return path.resolve()


def _made(name: str, model: Path, tool: Tool, texts: Path, options: Any) -> None:
    out = _directory(name, tool)
    if out.exists() and not options.again:
        return
    if out.exists():
        raise FileExistsError(f"{out} is there: remove it to make it again")
    shared = (WORK / name / "shared").resolve() if options.shared else None
    cost = make(tool, model, texts, options.peers, out.resolve(), shared)
    record("language-made", model=name, tool=tool.name, **cost, **_conditions())


def _judged(name: str, tool: Tool, kept: Path, how: str, again: bool) -> None:
    """In a process of its own, as a runtime keeps what it allocates."""
    if not _directory(name, tool).exists() or (not again and _has(name, tool, how)):
        return
    script = str(Path(__file__).with_name("language_judge.py"))
    command = [sys.executable, script, str(engine(_directory(name, tool))), str(kept), how]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        record("language-quality", model=name, tool=tool.name, scheme=how, error=done.stderr.strip()[-300:])
        return
    figures = json.loads(done.stdout.strip().splitlines()[-1])
    record("language-quality", model=name, tool=tool.name, scheme=how, **figures, **_conditions())


def _timed(name: str, model: Path, options: Any) -> None:
    """Every directory once a round, each in a fresh process, the other way round every other time."""
    context = json.loads((model / "config.json").read_text())["max_position_embeddings"]
    depths = [str(depth) for depth in DEPTHS if depth + NEW <= context]
    tools = [TOOLS[each] for each in options.tools if _directory(name, TOOLS[each]).exists()]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    script = str(Path(__file__).with_name("language_speed.py"))
    for repetition in range(options.rounds):
        for tool in tools if repetition % 2 == 0 else reversed(tools):
            command = [options.peers, script, str(engine(_directory(name, tool))), str(WORK / name / "reference")]
            command += [str(options.threads), *depths]
            done = subprocess.run(command, capture_output=True, text=True, env=environment)
            line = {"model": name, "tool": tool.name, "repetition": repetition, "threads": options.threads}
            if done.returncode:
                record("language-speed", **line, error=done.stderr.strip()[-300:])
                continue
            record("language-speed", **line, **_conditions(), **json.loads(done.stdout.strip().splitlines()[-1]))


def _conditions() -> dict[str, Any]:
    """Where a line was measured, and how busy it was: the load average behind it, its own included."""
    return {"machine": this_machine().processor, "load": round(os.getloadavg()[0], 2)}


def _directory(name: str, tool: Tool) -> Path:
    return WORK / name / tool.name


def _has(name: str, tool: Tool, how: str) -> bool:
    wanted = {"kind": "language-quality", "model": name, "tool": tool.name, "scheme": how}
    lines = map(json.loads, RAW.read_text().splitlines()) if RAW.exists() else ()
    return any(wanted.items() <= line.items() and "error" not in line for line in lines)


if __name__ == "__main__":
    main()
