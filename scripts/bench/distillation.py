"""A student half as wide: distilled, and trained alone on the same samples with the same budget.

    python scripts/bench/distillation.py train --samples 128 --seeds 0 1 2
    python scripts/bench/distillation.py render

`train` appends to .bench/results.jsonl; `render` writes the section of docs/benchmarks-compression.md.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from models import ROOT
from results import load, record
from sections import table, write_section
from torch import Tensor, nn

from edgepress.exporter.sources import Source, load_source, torch_predict
from edgepress.exporter.training.loop import train
from edgepress.exporter.training.settings import TrainingSettings
from edgepress.profiles.environment import this_machine

# Training images of the student, and passes over them, in batches of 16: enough steps for both arms to settle.
EPOCHS = {128: 60, 512: 30, 1297: 15}
BATCH = 16
RATE = 3e-3
ARMS = ("alone", "distilled")


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("train", "render"))
    parser.add_argument("--samples", nargs="+", type=int, choices=EPOCHS, default=list(EPOCHS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options = parser.parse_args()
    if options.part == "render":
        write_section("distillation", _section())
        return
    source = load_source(str(ROOT / "examples" / "mobilenet.py"))
    for samples in options.samples:
        for seed in options.seeds:
            for arm in ARMS:
                _train(source, samples, seed, arm)


def _train(source: Source, samples: int, seed: int, arm: str) -> None:
    """One student; its last weights are judged, so that nothing is chosen on the held-out images."""
    assert source.module is not None and source.evaluate is not None
    settings = TrainingSettings(epochs=EPOCHS[samples], learning_rate=RATE)
    given = replace(source, training=_subset(samples, seed), evaluate=None)
    start = time.perf_counter()
    outcome = train(_student(source, seed), source.module if arm == "distilled" else None, given, settings, seed=seed)
    record(
        "distillation",
        model="mobilenet",
        tool=arm,
        n=samples,
        seed=seed,
        metric=source.evaluate(torch_predict(replace(source, module=outcome.module))),
        teacher=source.evaluate(torch_predict(source)),
        parameters=outcome.run.parameters,
        teacher_parameters=sum(weight.numel() for weight in source.module.parameters()),
        objective=list(outcome.run.objective),
        seconds=round(time.perf_counter() - start, 1),
        machine=str(this_machine()),
        torch=torch.__version__,
    )


def _student(source: Source, seed: int) -> nn.Module:
    """The example's student with weights of this seed."""
    torch.manual_seed(seed)
    build: Any = type(source.module)
    student: nn.Module = build(share=0.5)
    return student


def _subset(samples: int, seed: int) -> Any:
    """Passes over training images drawn without replacement; both arms get the same ones in the same order."""
    task = sys.modules["_digits"].digits("image", size=32)
    part = task.train.take(np.random.default_rng(seed).permutation(len(task.train.y))[:samples])

    def training(epoch: int = 0) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
        order = np.random.default_rng([seed, epoch]).permutation(samples)
        for batch in part.take(order[: samples // BATCH * BATCH]).batches(BATCH):
            yield {"image": torch.from_numpy(batch.x)}, torch.from_numpy(batch.y)

    return training


def _section() -> list[str]:
    lines = load("distillation")
    rows = [row for samples in EPOCHS if (row := _row([line for line in lines if line["n"] == samples]))]
    last = lines[-1]
    small, large = last["parameters"], last["teacher_parameters"]
    return [
        "## Distillation: a student half as wide\n",
        f"`examples/mobilenet.py`: `student()` has {small:,} parameters, `model()` {large:,} and an accuracy of "
        f"{last['teacher']:.3f}. Both arms start from the same weights and see the same images in the same order for "
        f"as many epochs (AdamW, {RATE:g} at most, batches of {BATCH}); one follows the labels alone, the other "
        f"{' and '.join(last['objective'])} of the same images, with the defaults of `--distill`. Accuracy of the last "
        "epoch's weights on the 500 held-out images; nothing is chosen on them. Mean and standard deviation over the "
        "seeds, which decide the first weights and, below 1297, the images.\n",
        table(("training images", "epochs", *ARMS, "difference, mean (each seed)"), rows),
        f"Machine: {last['machine']}; torch {last['torch']}. Again with `scripts/bench/distillation.py train`, then "
        "`render`.",
    ]


def _row(lines: list[dict[str, Any]]) -> list[str]:
    found = {arm: {line["seed"]: line["metric"] for line in lines if line["tool"] == arm} for arm in ARMS}
    seeds = sorted(found["alone"].keys() & found["distilled"].keys())
    if not seeds:
        return []
    alone, distilled = (np.array([found[arm][seed] for seed in seeds]) for arm in ARMS)
    gain = distilled - alone
    each = ", ".join(f"{value:+.3f}" for value in gain)
    cells = [f"{arm.mean():.3f} ± {arm.std(ddof=1):.3f}" for arm in (alone, distilled)] if len(seeds) > 1 else ["", ""]
    samples = lines[0]["n"]
    return [str(samples), str(EPOCHS[samples]), *cells, f"{gain.mean():+.3f} ({each})"]


if __name__ == "__main__":
    main()
