"""onnxruntime's quantize_static on a model of the zoo: the same weights, calibration and held-out samples.

QDQ, activations in uint8 by their extremes, weights in int8 with a scale a tensor, then one a channel.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

from .judge import against, plain
from .model import Feed
from .weights import Weighted, weighted
from .zoo import models

OPSET = 18


def compare(patterns: tuple[str, ...]) -> None:
    """Print what each has against torch, in dB of its worst output."""
    for name, model in models().items():
        if any(fnmatch(name, pattern) for pattern in patterns):
            made = weighted(model)
            with tempfile.TemporaryDirectory(prefix="zoo-") as home:
                for per_channel in (False, True):
                    path = _quantized(made, Path(home), per_channel)
                    scales = "channel" if per_channel else "tensor"
                    print(f"{name:36} {scales:8} {_worst_db(made, path):.1f} dB", flush=True)


def _quantized(made: Weighted, home: Path, per_channel: bool) -> Path:
    import torch
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self, feeds: list[Feed]) -> None:
            self.left: Iterator[Feed] = iter(feeds)

        def get_next(self) -> Feed | None:
            return next(self.left, None)

    plain_file, ready, found = (home / f"{name}.onnx" for name in ("plain", "ready", "int8"))
    if not ready.exists():
        batch = {name: {0: torch.export.Dim.DYNAMIC} for name in made.example}
        torch.onnx.export(
            made.module, (), kwargs=made.example, f=str(plain_file), dynamo=True, opset_version=OPSET,
            dynamic_shapes=batch,
        )  # fmt: skip
        quant_pre_process(str(plain_file), str(ready))
    quantize_static(
        str(ready), str(found), Reader(made.calibration), quant_format=QuantFormat.QDQ, per_channel=per_channel,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
    )  # fmt: skip
    return found


def _worst_db(made: Weighted, path: Path) -> float:
    import onnx

    names = [output.name for output in onnx.load(str(path), load_external_data=False).graph.output]
    run = plain(path, names)
    got = [run(feed) for feed in made.held]
    return min(against(made.answers, got, name, index, "int8")[0] for index, name in enumerate(names))
