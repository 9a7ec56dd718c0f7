"""What int8 loses where a processor's integer kernels saturate, and with weights of 7 bits: docs/decisions/0034.

Run it on an x86 processor without VNNI, without arguments. Small networks are exported to `cpu` and `server-cpu`, as
these targets are and with a scheme that knows nothing of the processor, and the SQNR of engine and graph against FP32
on calibration samples is printed. With VNNI both are the same.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch

import edgepress
from edgepress.exporter.bundle.reportables import load_report
from edgepress.profiles.device import target as data
from edgepress.profiles.machine.environment import this_machine

BUILT_IN = Path(data.__file__).parent
NETWORKS = {
    "two linear layers": (torch.nn.Linear(64, 64), torch.nn.Linear(64, 8), (64,)),
    "two convolutions": (torch.nn.Conv2d(32, 32, 3, padding=1), torch.nn.Conv2d(32, 8, 1), (32, 8, 8)),
}


def unaware(name: str, directory: Path) -> Path:
    """The built-in target with a scheme that does not say what its kernels need."""
    target = (BUILT_IN / "targets" / f"{name}.toml").read_text()
    (scheme,) = re.findall(r'^scheme = "(.*)"', target, re.MULTILINE)
    lines = (
        (BUILT_IN / "schemes" / f"{scheme}.toml").read_text().replace(f'name = "{scheme}"', f'name = "{name}-plain"')
    )
    (directory / "plain.toml").write_text(re.sub(r"exact_with = .*\n", "", lines))
    own = target.replace(f'scheme = "{scheme}"', 'scheme = "plain.toml"').replace(f'"{name}"', f'"{name}-plain"', 1)
    (directory / f"{name}-plain.toml").write_text(own)
    return directory / f"{name}-plain.toml"


def exported(network: str, target: str | Path, directory: Path) -> str:
    """What an export says of the engine and its graph."""
    torch.manual_seed(0)
    first, last, shape = NETWORKS[network]
    for layer in (first, last):
        layer.reset_parameters()
    with torch.no_grad():
        first.weight.abs_()  # sums of one sign are what fills 16 bits
    rng = np.random.default_rng(0)
    calibration = [{"x": rng.uniform(0, 1, (8, *shape)).astype(np.float32)} for _ in range(16)]
    try:
        bundle = edgepress.export(
            torch.nn.Sequential(first, torch.nn.ReLU(), last).eval(), {"x": torch.rand(2, *shape)}, target=str(target),
            name="net", dynamic={"x": {0: "n"}}, calibration=calibration, precision="int8", lifts=(), measure=False,
            output=directory / "out",
        )  # fmt: skip
    except edgepress.VerificationError as error:
        return f"refused: {error.message}"
    report = load_report(bundle.path)
    shutil.rmtree(directory / "out")
    claim = next(one.claim for one in report.evidence if "computes what model.onnx does" in one.claim)
    return f"{claim}; in float: {', '.join(report.left_float) or 'nothing'}"


def main() -> None:
    """Print a line for each network, target and scheme."""
    print(this_machine(), this_machine().isa)
    for network in NETWORKS:
        for name in ("cpu", "server-cpu"):
            with tempfile.TemporaryDirectory() as scratch:
                for what, target in (("as it is", name), ("unaware", unaware(name, Path(scratch)))):
                    print(f"{network}, {name}, {what}: {exported(network, target, Path(scratch))}", flush=True)


if __name__ == "__main__":
    main()
