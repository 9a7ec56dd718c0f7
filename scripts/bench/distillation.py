"""A student half as wide: distilled, and trained alone on the same samples with the same budget.

    python scripts/bench/distillation.py train --cases 128 --seeds 0 1 2
    python scripts/bench/distillation.py render

`train` appends to .bench/results.jsonl; `render` writes the section of docs/benchmarks-compression.md.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from models import ROOT
from results import load, record
from sections import table, write_section
from torch import Tensor, nn

from edgepress.exporter.recipe import TrainingSettings
from edgepress.exporter.sources import Source, load_source, torch_predict
from edgepress.exporter.training.loop import train
from edgepress.profiles.machine.environment import this_machine

RATE = 3e-3
ARMS = ("alone", "distilled")
SHORT = "Soft labels ask for more than labels do, and need their steps: in the last row there are too few.\n"
TEXT = """
`examples/mobilenet.py`: `student()` has {parameters:,} parameters, `model()` {teacher_parameters:,} and an accuracy of
{teacher:.3f}; it was trained on all 1297 images. Both arms start from the same weights and see the same images in the
same order for as many steps (AdamW, {rate:g} at most, cosine); one follows the labels alone, the other {arm} of the
same
images, the defaults of `--distill`. Accuracy of the last epoch's weights on the 500 held-out images; nothing is chosen
on them. Mean and standard deviation over the seeds, which decide the first weights, the order, and below 1297 the
images.
"""


class Case(NamedTuple):
    """Training images of the student, passes over them, and images a step."""

    samples: int
    epochs: int
    batch: int

    @property
    def steps(self) -> int:
        return self.samples // self.batch * self.epochs


# The first three have enough steps for both arms to settle, the last one has not.
CASES = {
    "128": Case(128, 60, 16),
    "512": Case(512, 30, 16),
    "1297": Case(1297, 15, 16),
    "short": Case(1297, 4, 64),
}


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("train", "render"))
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options = parser.parse_args()
    if options.part == "render":
        write_section("distillation", _section())
        return
    source = load_source(str(ROOT / "examples" / "mobilenet.py"))
    for name in options.cases:
        for seed in options.seeds:
            for arm in ARMS:
                _train(source, name, seed, arm)


def _train(source: Source, name: str, seed: int, arm: str) -> None:
    """One student; its last weights are judged, so that nothing is chosen on the held-out images."""
    assert source.module is not None and source.evaluate is not None
    case = CASES[name]
    settings = TrainingSettings(epochs=case.epochs, learning_rate=RATE)
    given = replace(source, training=_subset(case, seed), evaluate=None)
    start = time.perf_counter()
    outcome = train(_student(source, seed), source.module if arm == "distilled" else None, given, settings, seed=seed)
    record(
        "distillation",
        model="mobilenet",
        tool=arm,
        scheme=name,
        n=case.samples,
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


def _subset(case: Case, seed: int) -> Any:
    """Passes over training images drawn without replacement; both arms get the same ones in the same order."""
    task = sys.modules["_digits"].digits("image", size=32)
    part = task.train.take(np.random.default_rng(seed).permutation(len(task.train.y))[: case.samples])

    def training(epoch: int = 0) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
        order = np.random.default_rng([seed, epoch]).permutation(case.samples)
        for batch in part.take(order[: case.samples // case.batch * case.batch]).batches(case.batch):
            yield {"image": torch.from_numpy(batch.x)}, torch.from_numpy(batch.y)

    return training


def _section() -> list[str]:
    lines = load("distillation")
    rows = [row for name in CASES if (row := _row(name, [line for line in lines if line["scheme"] == name]))]
    last = next(line for line in reversed(lines) if line["tool"] == "distilled")
    return [
        "## Distillation: a student half as wide\n",
        textwrap.fill(
            " ".join(TEXT.format(rate=RATE, arm=" and ".join(last["objective"]), **last).split()),
            120,
            break_on_hyphens=False,
        ),
        "",
        table(("images", "epochs", "steps", *ARMS, "difference, mean (each seed)"), rows),
        *([SHORT] if any(line["scheme"] == "short" for line in lines) else []),
        f"Machine: {last['machine']}; torch {last['torch']}.\n",
        "    python scripts/bench/distillation.py train\n    python scripts/bench/distillation.py render",
    ]


def _row(name: str, lines: list[dict[str, Any]]) -> list[str]:
    found = {arm: {line["seed"]: line["metric"] for line in lines if line["tool"] == arm} for arm in ARMS}
    seeds = sorted(found["alone"].keys() & found["distilled"].keys())
    if len(seeds) < 2:
        return []
    alone, distilled = (np.array([found[arm][seed] for seed in seeds]) for arm in ARMS)
    gain = distilled - alone
    each = ", ".join(f"{value:+.3f}" for value in gain)
    cells = [f"{arm.mean():.3f} ± {arm.std(ddof=1):.3f}" for arm in (alone, distilled)]
    case = CASES[name]
    return [str(case.samples), str(case.epochs), str(case.steps), *cells, f"{gain.mean():+.3f} ({each})"]


if __name__ == "__main__":
    main()
