"""What a report says of samples that int8 has not seen, against fresh ones: `python scripts/bench/held_out.py`.

Small networks with random weights, `server-cpu`, without lifts, on three kinds of data; decisions 108 and 112 have the
table. A case is short where fresh samples have so little that it should be said beside what the report claims.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from sections import table
from torch import nn

import edgepress
from edgepress.exporter.bundle.reportables import load_report
from edgepress.exporter.quantization.gains import tells_less

SAMPLES, FRESH, BATCH = (24, 48, 128), 1000, 8
VECTOR, PICTURE = (16,), (3, 16, 16)
DATA = {"normal, uniform": ("normal", "uniform"), "Student's t": ("t",), "loudness": ("loud",)}
SUBJECTS = ("held out", "more samples")
CLAIM = re.compile(r"worst output (-?[\d.]+) dB of SQNR against FP32 on \d+ calibration samples")
TURNS = re.compile(r"each quarter with ranges of the others: (-?[\d.]+) dB of SQNR(?:.* likely have (-?[\d.]+) dB)?")


class Applied(nn.Module):
    """Layers, and what is made of them."""

    def __init__(self, forward: Callable[..., torch.Tensor], **layers: nn.Module) -> None:
        super().__init__()
        self.made, self.layers = forward, nn.ModuleDict(layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.made(x, **self.layers)


def dense(widths: Sequence[int], between: Callable[[], nn.Module] = nn.ReLU) -> nn.Module:
    """Dense layers."""
    layers = [part for i, o in pairwise(widths) for part in (nn.Linear(i, o), between())]
    return nn.Sequential(*layers[:-1])


def exponential(scale: float, depth: int) -> nn.Module:
    """An exponential of normalized layers."""
    layers = [part for _ in range(depth) for part in (nn.Linear(16, 16), nn.LayerNorm(16))][:-1]
    return Applied(lambda x, a, b: b(torch.exp(scale * a(x))), a=nn.Sequential(*layers), b=nn.Linear(16, 4))


def gated() -> nn.Module:
    """A gated block beside a shortcut."""

    def forward(x, first, gate, up, down, last):  # type: ignore[no-untyped-def]
        x = first(x)
        return last(x + down(nn.functional.silu(gate(x)) * up(x)))

    up, gate = nn.Linear(32, 64), nn.Linear(32, 64)
    return Applied(forward, first=nn.Linear(16, 32), gate=gate, up=up, down=nn.Linear(64, 32), last=nn.Linear(32, 8))


def squares() -> nn.Module:
    """Squares of layers."""
    layers = {"a": nn.Linear(16, 32), "b": nn.Linear(32, 16), "c": nn.Linear(16, 4)}
    return Applied(lambda x, a, b, c: c(torch.relu(b(a(x) ** 2)) ** 2), **layers)


def residual() -> nn.Module:
    """A residual block of convolutions."""

    def forward(x, a, b, c, last):  # type: ignore[no-untyped-def]
        x = torch.relu(a(x))
        return last(torch.relu(x + c(torch.relu(b(x)))).mean((2, 3)))

    convolutions = [nn.Conv2d(i, 16, 3, padding=1) for i in (3, 16, 16)]
    return Applied(forward, **dict(zip("abc", convolutions, strict=True)), last=nn.Linear(16, 10))


def inverted() -> nn.Module:
    """Inverted residual blocks without the residual."""

    def block(before: int, after: int, stride: int) -> list[nn.Module]:
        wide = 4 * before
        middle = nn.Conv2d(wide, wide, 3, stride, 1, groups=wide)
        return [nn.Conv2d(before, wide, 1), nn.Hardswish(), middle, nn.Hardswish(), nn.Conv2d(wide, after, 1)]

    layers = [nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), *block(8, 16, 1), *block(16, 16, 2)]
    return Applied(lambda x, a, b: b(a(x).mean((2, 3))), a=nn.Sequential(*layers), b=nn.Linear(16, 10))


def energies() -> nn.Module:
    """Logarithms of energies over time."""
    layers = [part for i in (3, 16, 16) for part in (nn.Conv1d(i, 16, 5), nn.ReLU())][:-1]
    return Applied(
        lambda x, a, b: b(torch.log(a(x.flatten(2)).square().mean(-1) + 1e-3)),
        a=nn.Sequential(*layers),
        b=nn.Linear(16, 4),
    )


def largest() -> nn.Module:
    """The largest values over time."""
    layers = [part for i in (3, 16) for part in (nn.Conv1d(i, 16, 3), nn.ReLU())]
    return Applied(lambda x, a, b: b(a(x.flatten(2)).amax(-1)), a=nn.Sequential(*layers), b=nn.Linear(16, 4))


def u_shaped() -> nn.Module:
    """Down, up, and what was there before."""

    def forward(x, a, b, c, d):  # type: ignore[no-untyped-def]
        x = torch.relu(a(x))
        return d(torch.cat([x, torch.relu(c(torch.relu(b(x))))], 1))

    up = {"b": nn.Conv2d(8, 16, 3, 2, 1), "c": nn.ConvTranspose2d(16, 8, 2, 2)}
    return Applied(forward, a=nn.Conv2d(3, 8, 3, padding=1), **up, d=nn.Conv2d(16, 3, 3, padding=1))


def attention() -> nn.Module:
    """A small ViT."""
    block = nn.TransformerEncoderLayer(32, 4, 64, 0, batch_first=True, norm_first=True)
    layers = {"a": nn.Conv2d(3, 32, 4, 4), "b": nn.TransformerEncoder(block, 2, enable_nested_tensor=False)}
    return Applied(lambda x, a, b, c: c(b(a(x).flatten(2).transpose(1, 2)).mean(1)), **layers, c=nn.Linear(32, 10))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "dense": (partial(dense, (16, 32, 32, 8)), VECTOR),
    "dense GELU": (partial(dense, (16, 64, 64, 8), nn.GELU), VECTOR),
    "deep": (partial(dense, (16, 32, 32, 32, 32, 32, 8)), VECTOR),
    "exp": (partial(exponential, 2, 1), VECTOR),
    "deep exp": (partial(exponential, 2, 4), VECTOR),
    "gated": (gated, VECTOR),
    "squares": (squares, VECTOR),
    "residual": (residual, PICTURE),
    "inverted": (inverted, PICTURE),
    "energies": (energies, PICTURE),
    "largest": (largest, PICTURE),
    "U-Net": (u_shaped, PICTURE),
    "attention": (attention, PICTURE),
}


def drawn(kind: str, shape: Sequence[int], count: int, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """Samples; `loud` ones are normal numbers with a log-normal amplitude each."""
    size = (count, *shape)
    if kind == "uniform":
        values = rng.uniform(-1, 1, size)
    elif kind == "t":
        values = rng.standard_t(3, size)
    else:
        values = rng.normal(size=size)
    if kind == "loud":
        values *= np.exp(rng.normal(size=(count, *[1] * len(shape))))
    return values.astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One export.

    Attributes:
        claimed, likely, turns, fresh: dB of SQNR: what the report claims, of that what others likely have, what parts
            have with ranges of the others, and fresh samples; NaN where nothing is said.
        told: the report says that new samples may have less.
    """

    network: str
    kind: str
    samples: int
    claimed: float
    turns: float
    likely: float
    fresh: float
    told: bool

    @property
    def short(self) -> bool:
        return tells_less(self.claimed, self.fresh)


def case(network: str, kind: str, samples: int, seed: int, scratch: Path) -> Case:
    """Export, read the report, and judge what ships."""
    make, shape = NETWORKS[network]
    torch.manual_seed(0)
    model = make().eval()
    data, fresh = (drawn(kind, shape, n, np.random.default_rng([s, n])) for n, s in ((samples, seed), (FRESH, 99)))
    bundle = edgepress.export(
        model, {"x": torch.randn(2, *shape)}, target="server-cpu", name="network", dynamic={"x": {0: "n"}}, lifts=(),
        calibration=[{"x": data[at : at + BATCH]} for at in range(0, samples, BATCH)], minimum_sqnr_db=0,
        precision="int8", measure=False, output=scratch, force=True,
    )  # fmt: skip
    report = load_report(bundle.path)
    claims = [float(found[1]) for one in report.evidence if (found := CLAIM.search(one.claim))]
    turns = next((found for note in report.notes if (found := TURNS.search(note))), None)
    return Case(
        network=network, kind=kind, samples=samples, claimed=min(claims), fresh=judged(model, bundle.path, fresh),
        turns=float(turns[1]) if turns else np.nan, likely=float(turns[2]) if turns and turns[2] else np.nan,
        told=any(gap.subject in SUBJECTS for gap in report.missing),
    )  # fmt: skip


def judged(model: nn.Module, bundle: Path, fresh: np.ndarray[Any, Any]) -> float:
    """SQNR in dB of the bundle's graph against the module."""
    session = onnxruntime.InferenceSession(str(bundle / "model.onnx"), providers=["CPUExecutionProvider"])
    with torch.no_grad():
        right = model(torch.from_numpy(fresh)).double().numpy()
    error = session.run(None, {session.get_inputs()[0].name: fresh})[0] - right
    return float(10 * np.log10(np.square(right).sum() / np.square(error).sum()))


def cases(networks: Iterable[str], seeds: range, scratch: Path) -> Iterator[Case]:
    """Each network on each kind of data, so many samples and draws."""
    for network in networks:
        for kind in (kind for kinds in DATA.values() for kind in kinds):
            for samples in SAMPLES:
                for seed in seeds:
                    found = case(network, kind, samples, seed, scratch)
                    print(found, flush=True)
                    yield found


def rows(found: Sequence[Case]) -> Iterator[tuple[str, ...]]:
    """A row of the table for each number of samples and kind of data."""
    for samples in SAMPLES:
        for title, kinds in DATA.items():
            these = [one for one in found if one.samples == samples and one.kind in kinds]
            short = [one for one in these if one.short]
            off = np.array([one.turns - one.fresh for one in these])
            yield (
                str(samples), title, str(len(these)), str(len(short)), str(sum(one.told for one in short)),
                str(sum(one.told for one in these if not one.short)),
                f"{np.mean([abs(one.claimed - one.fresh) for one in these]):.1f}",
                f"{np.nanmean(off):+.1f}; {np.nanmean(abs(off)):.1f}",
                f"{np.mean([one.fresh >= one.likely for one in these]):.0%}",
            )  # fmt: skip


def main() -> None:
    """The table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        found = list(cases(asked.networks.split(","), range(asked.seeds), Path(scratch) / "bundle"))
    head = ("samples", "data", "cases", "short", "told", "falsely", "claim off", "turns off", "at least what is likely")
    print(table(head, list(rows(found))))


if __name__ == "__main__":
    main()
