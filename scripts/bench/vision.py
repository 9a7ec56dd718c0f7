"""Int8 on pictures: the metric of examples on held-out data, edgepress beside the defaults of its peers; and boxes.

    python scripts/bench/vision.py quality [--models fashion ...] [--targets cpu ...] [--tools nncf-onnx ...]
    python scripts/bench/vision.py boxes [--targets cpu ...]
    python scripts/bench/vision.py render

`quality` exports each example in int8 and gives the same captured FP32 file and the same calibration data to the peers;
`boxes` compares the FP32 bundles of the detector with torch, row by row. `render` writes docs/benchmarks-vision.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from models import HOME, ROOT, Model, _example, example
from numpy.typing import NDArray
from results import load, record
from runtimes import opened
from tools import TOOLS, Tool, quantized

import edgepress

DOCUMENT = ROOT / "docs" / "benchmarks-vision.md"
MARKER = "<!-- Everything below is written by scripts/bench/vision.py. -->"
EXAMPLES = ("fashion", "fashion_resnet", "detector", "segment")
TARGETS = ("cpu", "server-cpu", "mobile")
# As their authors ship them; `quantize_static` is the one with its own defaults, quantize.py gives it those.
PEERS = ("onnxruntime-defaults", "nncf-onnx", "nncf-openvino")
DEFAULTS = Tool(name="onnxruntime-defaults", family="onnxruntime-defaults", method="MinMax")
SAMPLES, SEED = 256, 0
Predict = Callable[[Any], Any]


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("quality", "boxes", "render"))
    parser.add_argument("--models", nargs="*", default=EXAMPLES)
    parser.add_argument("--targets", nargs="*", default=TARGETS)
    parser.add_argument("--tools", nargs="*", default=PEERS)
    asked = parser.parse_args()
    if asked.what == "render":
        render()
    elif asked.what == "boxes":
        for target in asked.targets:
            compare_boxes(target)
    else:
        for name in asked.models:
            measure(name, asked.targets, asked.tools)


def measure(name: str, targets: Iterable[str], tools: Iterable[str]) -> None:
    """The metric of an example in FP32 and in int8, by every tool on every runtime that reads its file."""
    module, model = example(name), _model(name)
    model.prepare()
    judged = _Judged(module)
    reference = judged.of(opened("onnxruntime", model.onnx))
    record("vision", model=name, tool="FP32", runtime="onnxruntime", metric=reference)
    expected = judged.right
    for target in targets:
        bundle = _exported(name, target, "int8")
        tool, runtime = f"edgepress {target}", bundle.manifest.target.backend
        with _opened(bundle) as run:
            found = judged.of(run)
        record("vision", model=name, tool=tool, runtime=runtime, metric=found, **_paired(expected, judged.right))
    for tool in (DEFAULTS if name == DEFAULTS.name else TOOLS[name] for name in tools):
        path, cost = quantized(tool, model, "x86", SAMPLES, SEED)
        if "error" in cost:
            record("vision", model=name, tool=tool.name, runtime="", error=cost["error"])
            continue
        for runtime in (r for r in ("onnxruntime", "openvino") if tool.reads(r)):
            try:
                found = judged.of(opened(runtime, path))
            except Exception as error:  # a runtime that refuses a tool's file is a result of the benchmark
                record("vision", model=name, tool=tool.name, runtime=runtime, error=f"{error}"[:200])
                continue
            pairs = _paired(expected, judged.right)
            record("vision", model=name, tool=tool.name, runtime=runtime, metric=found, **pairs)


def compare_boxes(target: str) -> None:
    """The FP32 bundle of the detector against torch, on the held-out scenes."""
    from edgepress.exporter.sources import load_source, torch_predict
    from edgepress.profiles.findings.rows import Rows, aligned

    module = example("detector")
    torch = torch_predict(load_source(str(ROOT / "examples" / "detector.py")))
    rows = (Rows(outputs=("boxes", "scores", "classes"), axis=1),)
    total = unlike = 0
    furthest = {"boxes": 0.0, "scores": 0.0}
    with _opened(_exported("detector", target, "fp32")) as run:
        for batch in module._held_out():
            feed = {"image": batch.images}
            right, found, _ = aligned(torch(feed), run(feed), rows)
            alike = (right["scores"] > 0).ravel() & (found["scores"] > 0).ravel()
            total, unlike = total + len(alike), unlike + int((~alike).sum())
            for name in furthest:
                apart = np.abs(right[name].astype(np.float64) - found[name])[alike]
                furthest[name] = max(furthest[name], float(apart.max(initial=0.0)))
    apart = {"pixels": furthest["boxes"], "scores": furthest["scores"]}
    record("boxes", model="detector", tool=target, boxes=total, unlike=unlike, **apart)


class _Judged:
    """The example's own metric, and which samples were right where it is a classifier."""

    def __init__(self, module: Any) -> None:
        self._module = module
        self.right: NDArray[np.bool_] | None = None

    def of(self, run: Predict) -> float:
        best: list[NDArray[np.int64]] = []

        def predict(feed: Any) -> Any:
            found = run(feed)
            scores = next(iter(found.values()))
            if scores.ndim == 2 and len(found) == 1:
                best.append(scores.argmax(axis=1))
            return found

        value = float(self._module.evaluate(predict))
        self.right = np.concatenate(best) == self._module._task().held_out.y if best else None
        return value


def _paired(before: NDArray[np.bool_] | None, after: NDArray[np.bool_] | None) -> dict[str, Any]:
    """McNemar's exact test of the samples that only one of the two has right."""
    if before is None or after is None:
        return {}
    from scipy.stats import binomtest

    lost, won = int((before & ~after).sum()), int((~before & after).sum())
    return {"lost": lost, "won": won, "p": float(binomtest(lost, lost + won).pvalue) if lost + won else 1.0}


def _model(name: str) -> Model:
    return Model(name=name, source=_example(name), samples=lambda: _calibration(name))


def _calibration(name: str) -> dict[str, NDArray[Any]]:
    batches = list(example(name).calibration())
    return {key: np.concatenate([batch[key] for batch in batches])[:SAMPLES] for key in batches[0]}


def _exported(name: str, target: str, precision: str) -> Any:
    """The bundle of an example, made once."""
    directory = HOME / "vision" / precision
    made = directory / f"{name}-{edgepress.load_target(target).name}"
    if made.exists():
        return edgepress.load_bundle(made)
    source = str(ROOT / "examples" / f"{name}.py")
    return edgepress.export(source, target=target, precision=precision, measure=False, output=directory)


def _opened(bundle: Any) -> Any:
    """The bundle's engine, open where edgepress runs it on this machine."""
    from edgepress.backends.places import place_for

    place = place_for(bundle.manifest.target)
    return place.open(bundle.engine, place.threads())


def render() -> None:
    """Rewrite the part of the document below the marker."""
    head = DOCUMENT.read_text().split(MARKER)[0]
    DOCUMENT.write_text(f"{head}{MARKER}\n\n" + "\n".join([*_quality(), *_boxes()]) + "\n")


def _quality() -> Iterable[str]:
    lines = load("vision")
    for name in dict.fromkeys(line["model"] for line in lines):
        of = [line for line in lines if line["model"] == name]
        reference = next(line["metric"] for line in of if line["tool"] == "FP32")
        yield f"### {name}: FP32 {100 * reference:.2f}\n"
        yield "| int8 by | on | metric | points | only FP32 right / only int8 right | p |\n|---|---|---|---|---|---|"
        for line in (line for line in of if line["tool"] != "FP32"):
            if "error" in line:
                yield f"| {line['tool']} | {line['runtime']} | failed: {line['error']} | | | |"
                continue
            pairs = f"{line['lost']} / {line['won']} | {line['p']:.2f}" if "p" in line else " | "
            change = 100 * (line["metric"] - reference)
            yield f"| {line['tool']} | {line['runtime']} | {100 * line['metric']:.2f} | {change:+.2f} | {pairs} |"
        yield ""


def _boxes() -> Iterable[str]:
    yield "### Boxes of the FP32 bundles beside torch's\n"
    yield "| target | boxes | without their like | furthest corner, pixels | furthest score |\n|---|---|---|---|---|"
    for line in load("boxes"):
        yield f"| {line['tool']} | {line['boxes']} | {line['unlike']} | {line['pixels']:.1e} | {line['scores']:.1e} |"


if __name__ == "__main__":
    HOME.mkdir(parents=True, exist_ok=True)
    main()
