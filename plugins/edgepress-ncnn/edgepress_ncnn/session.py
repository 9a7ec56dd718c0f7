"""An open ncnn network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgepress.backends.authoring import fit, import_or_explain
from edgepress.backends.base import Array, Engine, Feed, Session, TensorSpec
from edgepress.errors import InputError
from edgepress.profiles.machine.environment import usable_cores

from .form import BIN, Form

# Layers that multiply matrices or convolve, of ncnn's src/layer.
COMPUTE = frozenset(
    {
        "Convolution",
        "Convolution1D",
        "Convolution3D",
        "ConvolutionDepthWise",
        "ConvolutionDepthWise1D",
        "ConvolutionDepthWise3D",
        "Deconvolution",
        "DeconvolutionDepthWise",
        "Einsum",
        "GRU",
        "Gemm",
        "InnerProduct",
        "LSTM",
        "MatMul",
        "MultiHeadAttention",
        "RNN",
        "SDPA",
    }
)
# What would compute in less than float32 where the processor can.
_LESS = ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_packed", "use_bf16_storage")


def loaded(param: Path, threads: int | None) -> Any:
    """The network of two files that are known to be whole, which computes in float32.

    Raises:
        InputError: ncnn does not take them.
    """
    net = import_or_explain("ncnn").Net()
    net.opt.use_vulkan_compute = False
    for option in _LESS:
        if hasattr(net.opt, option):  # their names come and go with versions
            setattr(net.opt, option, False)
    net.opt.num_threads = threads or usable_cores()
    if net.load_param(str(param)) or net.load_model(str(param.with_name(BIN))):
        raise InputError(f"ncnn does not open {param.name}.", hint="Export it again with the ncnn that runs it.")
    return net


class NcnnSession(Session):
    """A network on the CPU, which runs the samples of a batch one after the other."""

    def __init__(self, engine: Engine, threads: int | None) -> None:
        self._engine, self._form = engine, Form.load(engine.path)
        self._net = loaded(engine.path, threads)
        self._mat = import_or_explain("ncnn").Mat

    def __call__(self, feed: Feed) -> dict[str, Array]:
        """Run one feed; the results are the caller's."""
        fit(self._engine.inputs, feed)
        counts = {len(array) for array in feed.values()}
        if len(counts) != 1 or 0 in counts:
            raise InputError(f"The inputs {', '.join(feed)} have no samples, or not as many each.")
        answers = [self._sample(feed, number) for number in range(counts.pop())]
        return {spec.name: np.concatenate([answer[spec.name] for answer in answers]) for spec in self._engine.outputs}

    def bind(self, feed: Feed) -> Callable[[], object]:
        """What is timed makes tensors of the arrays anew each time, as a program does with a new image."""
        fit(self._engine.inputs, feed)
        return super().bind({name: np.array(array, order="C") for name, array in feed.items()})

    def close(self) -> None:
        """Drop the network."""
        self._net = None

    def _sample(self, feed: Feed, number: int) -> dict[str, Array]:
        """Outputs of one sample, each with an axis of one."""
        with self._net.create_extractor() as extractor:
            for name, blob in self._form.inputs.items():
                array = np.ascontiguousarray(feed[name][number : number + 1])
                extractor.input(blob.name, self._mat(array, batch_index=blob.batch_index))
            return {spec.name: self._taken(extractor, spec) for spec in self._engine.outputs}

    def _taken(self, extractor: Any, spec: TensorSpec) -> Array:
        blob = self._form.outputs[spec.name]
        failed, mat = extractor.extract(blob.name)
        values = None if failed else np.array(mat.numpy(batch_index=blob.batch_index))
        if values is None or spec.mismatch(values):
            got = f"error {failed}" if values is None else f"{values.dtype} {values.shape}"
            raise InputError(f"ncnn gave {got} as output {spec.name!r}, expected {spec.dtype} {spec}.")
        return values
