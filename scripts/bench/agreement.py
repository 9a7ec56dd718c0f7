"""Do edgepress's latencies agree with those of OpenVINO's benchmark_app and of bare loops, and what does timing cost?

    python scripts/bench/agreement.py run --rounds 10
    python scripts/bench/agreement.py render

On the same engine file with the same threads on the same cores. The bare loops take turns with a measuring process of
edgepress, a few inferences at a time; benchmark_app cannot, so the two alternate every few seconds, in ABBA order. The
results go to .bench/results.jsonl; `render` writes the section of docs/benchmarks-measurement.md.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import onnx
from chain import chain
from models import HOME, MODELS
from onnx.tools.update_model_dims import update_inputs_outputs_dims
from results import load, record
from sections import MEASUREMENT, table, write_section

from edgepress.backends.places.remote import Remote
from edgepress.exporter.measuring.subject import Subject, open_subject, this_setup
from edgepress.profiles.machine.environment import this_machine
from edgepress.profiles.timing.measure import CallArm, Settings, timed
from edgepress.profiles.timing.turns import Turns, compare_turns

WORK = HOME / "agreement"
TARGETS = {"onnxruntime": "server-cpu", "openvino": "cpu"}
WARM = Settings(warmup_seconds=0.5, warmup_count=10, cap=1.0)
LIMIT = 0.03
CLOCKS = ("benchmark_app, median", "benchmark_app, mean of the loop")


def main() -> None:
    """Run or render."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("run", "render"))
    parser.add_argument("--models", nargs="+", default=["chain", "mobilenet", "vit", "minilm"])
    parser.add_argument("--against", nargs="+", choices=AGAINST, default=list(AGAINST))
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each stretch of benchmark_app")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    if options.part == "render":
        write_section("agreement", _section(), MEASUREMENT)
        return
    for name in options.models:
        path = _static(name)
        for one in options.against:
            AGAINST[one](name, path, options)


def _static(name: str) -> Path:
    """The model with one sample and no free axis, so that every tool runs the same graph."""
    if name == "chain":
        return chain(WORK / "chain.onnx", 40)
    model = MODELS[name]
    model.prepare()
    proto = onnx.load(model.onnx)
    shapes = [
        {value.name: [1 if axis == 0 else _size(dim) for axis, dim in enumerate(value.type.tensor_type.shape.dim)]}
        for value in (*proto.graph.input, *proto.graph.output)
    ]
    inputs = {k: v for shape in shapes[: len(proto.graph.input)] for k, v in shape.items()}
    outputs = {k: v for shape in shapes[len(proto.graph.input) :] for k, v in shape.items()}
    path = WORK / f"{name}.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(update_inputs_outputs_dims(proto, inputs, outputs), path)
    return path


def _size(dim: Any) -> int:
    return dim.dim_value or 32


@contextmanager
def _ours(path: Path, runtime: str, threads: int) -> Iterator[tuple[Remote, Subject, Path]]:
    """A measuring process of edgepress, ready and warm, and the folder of its input."""
    with open_subject(path, TARGETS[runtime]) as subject, tempfile.TemporaryDirectory() as scratch:
        job = subject.job(this_setup(threads)).save(Path(scratch), subject.feed)
        with Remote(job, path.name).ready() as engine:
            engine.warm(WARM)
            yield engine, subject, Path(scratch)


@contextmanager
def _bare(path: Path, runtime: str, scratch: Path, threads: int) -> Iterator[subprocess.Popen[str]]:
    cores = ",".join(map(str, this_setup(threads).affinity))
    script = Path(__file__).with_name("bare.py")
    words = [sys.executable, script, runtime, path, scratch / "feed.npz", str(threads), cores]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


def _turn(process: subprocess.Popen[str], settle: int, count: int) -> tuple[int, ...]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{settle} {count}\n")
    process.stdin.flush()
    return tuple(json.loads(process.stdout.readline()))


def _against_bare(name: str, path: Path, options: argparse.Namespace) -> None:
    for runtime in TARGETS:
        _against_bare_loop(name, path, runtime, options)


def _against_bare_loop(name: str, path: Path, runtime: str, options: argparse.Namespace) -> None:
    """Pairs of fresh processes that take turns, as in `edgepress compare`."""
    pairs = []
    for _ in range(options.rounds):
        with (
            _ours(path, runtime, options.threads) as (engine, subject, scratch),
            _bare(subject.engine.path, runtime, scratch, options.threads) as bare,
        ):
            count = max(3, round(0.004 / (min(_turn(bare, 50, 50)) / 1e9)))
            taken: tuple[list[tuple[int, ...]], list[tuple[int, ...]]] = ([], [])
            end = time.monotonic() + options.seconds
            while time.monotonic() < end:
                for which in (0, 1) if len(taken[0]) % 2 == 0 else (1, 0):
                    turn = tuple(engine.turn(1, count)) if which == 0 else _turn(bare, 1, count)
                    taken[which].append(turn)
        pairs.append(Turns(a=tuple(taken[0]), b=tuple(taken[1])))
    found = compare_turns(pairs)
    medians = [float(np.median([s for p in pairs for turn in arm(p) for s in turn])) / 1e6 for arm in (_a, _b)]
    _record(name, runtime, "bare loop", options, medians, [found.ratio.value, found.ratio.low, found.ratio.high])


def _a(pair: Turns) -> tuple[tuple[int, ...], ...]:
    return pair.a


def _b(pair: Turns) -> tuple[tuple[int, ...], ...]:
    return pair.b


def _against_benchmark_app(name: str, path: Path, options: argparse.Namespace) -> None:
    """Stretches of some seconds in ABBA order, each in a fresh process; the ratios of each pair of them.

    Its median is by the runtime's clock, inside the call; its duration over its count is what a loop in Python takes.
    """
    ours: list[tuple[float, float]] = []
    theirs: list[tuple[float, float]] = []
    stretch = Settings(slice_seconds=options.seconds)
    for index in range(2 * options.rounds):
        with _ours(path, "openvino", options.threads) as (engine, subject, _):
            for which in (0, 1) if index % 2 == 0 else (1, 0):
                if which == 0:
                    taken = engine.slice(stretch)
                    ours.append((float(np.median(taken)) / 1e6, float(np.mean(taken)) / 1e6))
                else:
                    theirs.append(_benchmark_app(subject.engine.path, options))
    for tool, own, its in zip(CLOCKS, zip(*ours, strict=True), zip(*theirs, strict=True), strict=True):
        ratios = np.log(own) - np.log(its)
        drawn = np.median(np.random.default_rng(0).choice(ratios, (4000, len(ratios))), axis=1)
        interval = np.exp([np.median(ratios), *np.percentile(drawn, [2.5, 97.5])])
        _record(name, "openvino", tool, options, [float(np.median(x)) for x in (own, its)], list(interval))


def _benchmark_app(path: Path, options: argparse.Namespace) -> tuple[float, float]:
    """Median and mean in milliseconds, as it prints them. Bound to as many cores, it takes as many threads."""
    words = [Path(sys.executable).with_name("benchmark_app"), "-m", path, "-d", "CPU", "-hint", "latency"]
    words += ["-api", "sync", "-infer_precision", "f32", "-t", str(round(options.seconds))]
    cores = this_setup(options.threads).affinity
    done = subprocess.run(
        words, capture_output=True, text=True, check=True, preexec_fn=lambda: os.sched_setaffinity(0, cores)
    )
    found = [
        re.search(pattern, done.stdout)
        for pattern in (
            r"INFERENCE_NUM_THREADS: (\d+)",
            r"Median:\s+([\d.]+) ([mu])s",
            r"Count:\s+(\d+)",
            r"Duration:\s+([\d.]+) ms",
        )
    ]
    threads, median, count, duration = (match or _unread(done.stdout) for match in found)
    assert int(threads[1]) == options.threads, done.stdout
    return float(median[1]) / (1000 if median[2] == "u" else 1), float(duration[1]) / int(count[1])


def _unread(printed: str) -> NoReturn:
    raise SystemExit(f"benchmark_app printed something else than expected:\n{printed}")


def _overhead(name: str, path: Path, options: argparse.Namespace) -> None:
    """What the timed loop adds to a call: a loop around nothing, timed and not, in nanoseconds a turn of the loop."""
    count, repetitions = 20_000, 15
    loops = [_seconds(lambda: timed(_nothing, time.perf_counter_ns, count=count)) for _ in range(repetitions)]
    bare = [_seconds(lambda: _loop(count)) for _ in range(repetitions)]
    inside = [float(np.median(timed(_nothing, time.perf_counter_ns, count=count))) for _ in range(repetitions)]
    with open_subject(path, "cpu") as subject:
        from edgepress.backends.registry import load_backend

        with load_backend("openvino").open(subject.engine, 1) as session:
            latency = float(np.median(CallArm(session.bind(subject.feed)).slice(Settings(slice_seconds=1.0))))
    record(
        "overhead",
        model=name,
        loop_ns=round((min(loops) - min(bare)) / count * 1e9, 1),
        sample_ns=round(min(inside), 1),
        latency_ns=latency,
    )


def _nothing() -> None:
    return None


def _loop(count: int) -> None:
    for _ in range(count):
        _nothing()


def _seconds(run: Any) -> float:
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def _record(
    name: str, runtime: str, other: str, options: argparse.Namespace, medians: list[float], ratio: list[float]
) -> None:
    record(
        "agreement",
        model=name,
        runtime=runtime,
        tool=other,
        threads=options.threads,
        ours_ms=round(medians[0], 4),
        theirs_ms=round(medians[1], 4),
        ratio=[round(float(x), 4) for x in ratio],
        load=os.getloadavg()[0],
        machine=str(this_machine()),
    )


def _section() -> list[str]:
    rows = [
        [
            line["model"],
            line["runtime"],
            line["tool"],
            f"{line['ours_ms']:.3f}",
            f"{line['theirs_ms']:.3f}",
            "{:.3f} [{:.3f}, {:.3f}]".format(*line["ratio"]),
            "yes" if abs(np.log(line["ratio"][0])) <= np.log1p(LIMIT) else "no",
        ]
        for line in load("agreement")
    ]
    costs = [
        [
            line["model"],
            f"{line['loop_ns']:.0f} ns",
            f"{line['sample_ns']:.0f} ns",
            f"{line['latency_ns'] / 1e6:.3f} ms",
            f"{line['loop_ns'] / line['latency_ns']:.3%}",
        ]
        for line in load("overhead")
    ]
    return [
        "## Agreement with other tools",
        "",
        "Median latency of one inference on the same file, same threads, same cores. A bare loop takes turns with "
        "edgepress's process; benchmark_app (`-hint latency -api sync`) alternates with it, a fresh process each "
        "time; its median is by OpenVINO's clock, inside the call, and so without what calling from Python costs; its "
        "loop, duration over count, is from Python as ours is. The ratio is ours over theirs with "
        "a 95 % interval.",
        "",
        table(["model", "runtime", "against", "ours, ms", "theirs, ms", "ratio", "within 3 %"], rows),
        "What timing costs, from a loop around an empty function: added to each turn of the loop, and contained in a "
        "sample.",
        "",
        table(["model", "a turn", "in a sample", "latency", "share"], costs),
        f"On {'; '.join(sorted({line['machine'] for line in load('agreement')}))}.",
        "",
        "    python scripts/bench/agreement.py run --against bare overhead",
        "    python scripts/bench/agreement.py run --against benchmark_app --seconds 1",
    ]


AGAINST = {"bare": _against_bare, "benchmark_app": _against_benchmark_app, "overhead": _overhead}

if __name__ == "__main__":
    main()
