"""The commands of `scripts/zoo`."""

from __future__ import annotations

import argparse
from pathlib import Path

from .lines import HOME
from .run import run
from .zoo import FLOAT, TARGETS


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="scripts/zoo", description="Models that nobody here chose, exported.")
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run", help="export and judge what has no result yet")
    running.add_argument("patterns", nargs="*", help="of names, or libraries; default all")
    running.add_argument("--targets", default=",".join(TARGETS))
    running.add_argument("--kinds", default="int8,float")
    running.add_argument("--again", action="store_true", help="also what did not work")
    running.add_argument("--before", default="", metavar="DATE", help="also what is older, as 2026-11-27")
    running.add_argument("--limit", type=float, default=300, help="seconds of processor time a target, default 300")
    running.add_argument("--workers", type=int, default=1)
    commands.add_parser("render", help="write docs/zoo.jsonl and docs/zoo.md")
    peer = commands.add_parser("peer", help="quantize_static on the same weights and samples")
    peer.add_argument("patterns", nargs="+", help="of names")
    graphs = commands.add_parser("graphs", help="export random ONNX graphs, and judge them")
    graphs.add_argument("--seeds", default="0:300", help="FIRST:END, or numbers with commas")
    graphs.add_argument("--results", type=Path, default=HOME / "graphs.jsonl")
    chance = commands.add_parser("random", help="networks of seeds, exported and judged")
    chance.add_argument("--seeds", default="0:200", metavar="FROM:TO", help="default 0:200")
    chance.add_argument("--targets", default=",".join(TARGETS))
    chance.add_argument("--kinds", default="int8,float")
    chance.add_argument("--again", action="store_true", help="also what did not work")
    chance.add_argument("--limit", type=float, default=120, help="seconds of processor time a target, default 120")
    chance.add_argument("--workers", type=int, default=1)
    chance.add_argument("--shrink", metavar="NAME", help="leave out blocks of random-SEED while the verdict stays")
    asked = parser.parse_args()
    if asked.command == "graphs":
        from .random_graphs.command import export_graphs

        return export_graphs(asked.seeds, asked.results)
    if asked.command == "peer":
        from .peer import compare

        return compare(tuple(asked.patterns))
    if asked.command == "render":
        from .render import write

        return write()
    if asked.command == "random":
        return _random(asked)
    targets, kinds = tuple(asked.targets.split(",")), tuple(asked.kinds.split(","))
    run(tuple(asked.patterns), targets, kinds, asked.again, asked.before, asked.limit, asked.workers)
    return None


def _random(asked: argparse.Namespace) -> None:
    targets, kinds = tuple(asked.targets.split(",")), tuple(asked.kinds.split(","))
    if asked.shrink:
        from .chance.shrink import shrink

        precision = "int8" if kinds[0] == "int8" else FLOAT[targets[0]]
        return print(shrink(asked.shrink, targets[0], precision))
    from .chance.run import run as run_random

    first, last = map(int, asked.seeds.split(":"))
    return run_random(range(first, last), targets, kinds, asked.again, asked.limit, asked.workers)


if __name__ == "__main__":
    main()
