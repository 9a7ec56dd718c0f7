"""CUDA through cuda-python: is there a device, and one TensorRT engine open on it."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import numpy as np

from ..errors import InputError, UnservedError
from ._vendor import fit
from .base import Array, Engine, Feed, Session, TensorSpec

# By DataType name: tensorrt.nptype of 8.x raises with numpy 1.24 and later, which dropped np.bool.
DTYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT8": "int8",
    "UINT8": "uint8",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
}


def missing() -> tuple[str, str]:
    """Why no CUDA device can be used here and what to do; two empty strings where one can."""
    absent = "cuda-python is not installed", "Run pip install 'cuda-python>=12.6'."
    if importlib.util.find_spec("cuda") is None:
        return absent
    try:
        runtime = _runtime()
        status, count = runtime.cudaGetDeviceCount()
    except ModuleNotFoundError:  # another package of the name `cuda`, or a cuda-python before the bindings
        return absent
    except (ImportError, OSError, RuntimeError) as error:  # cuda-python raises these where libraries are missing
        return f"cuda-python does not load: {error}", "Install the NVIDIA driver, and the CUDA version it supports."
    if status != runtime.cudaError_t.cudaSuccess:
        return f"no CUDA device ({_text(runtime, status)})", "Run this on a machine with an NVIDIA GPU and its driver."
    return ("", "") if count else ("no CUDA device", "Run this on a machine with an NVIDIA GPU.")


class CudaSession(Session):
    """An engine on device 0, by named tensors: the interface that TensorRT 8.5 to 11 have in common.

    A call copies the feed to the device, runs, and copies the outputs back; its latency includes both transfers.
    """

    def __init__(self, trt: Any, log: Any, engine: Engine) -> None:
        """Open the plan.

        Args:
            trt: the module `tensorrt` or `tensorrt_rtx`.
            log: its logger, with `errors()`.
            engine: the plan and its specs.

        Raises:
            InputError: the file is not a plan of this TensorRT, or was built for another GPU.
            UnservedError: the device has too little memory.
        """
        self._trt, self._log, self._specs = trt, log, engine
        self._buffers: dict[str, tuple[int, int]] = {}
        self._runtime = trt.Runtime(log)
        self._plan = self._runtime.deserialize_cuda_engine(engine.path.read_bytes())
        if self._plan is None:
            raise InputError(
                f"{engine.path.name} is not an engine that TensorRT {trt.__version__} reads here: {log.errors()}.",
                hint="Build it again on this machine with `edgepress build`.",
            )
        self._context = self._plan.create_execution_context()
        if self._context is None:
            raise UnservedError(f"TensorRT cannot run {engine.path.name}: {log.errors()}.", hint="Free device memory.")
        names = [self._plan.get_tensor_name(i) for i in range(self._plan.num_io_tensors)]
        self._dtypes = {name: _dtype(self._plan, name) for name in names}
        if unknown := {spec.name for spec in (*engine.inputs, *engine.outputs)}.symmetric_difference(names):
            raise InputError(f"{engine.path.name} has the tensors {names}; they differ in {sorted(unknown)}.")
        self._stream = _call("cudaStreamCreate")

    def __call__(self, feed: Feed) -> dict[str, Array]:
        """Run one feed.

        Raises:
            InputError: the feed does not fit the specs, or has a size outside of the ranges the engine was built for.
            UnservedError: CUDA or TensorRT fails.
        """
        fit(self._specs.inputs, feed)
        arrays = {name: np.asarray(cast(feed[name], self._dtypes[name], name), order="C") for name in feed}
        for name, array in arrays.items():
            self._bind_input(name, array)
        outputs = {spec.name: self._bind_output(spec) for spec in self._specs.outputs}
        if not self._context.execute_async_v3(int(self._stream)):
            raise UnservedError(f"TensorRT failed to run the engine: {self._log.errors()}.")
        for name, array in outputs.items():
            self._copy(array.ctypes.data, self._buffers[name][0], array.nbytes, "cudaMemcpyDeviceToHost")
        # The copies above are asynchronous: until here `arrays` and `outputs` must stay alive.
        _call("cudaStreamSynchronize", self._stream)
        return {spec.name: outputs[spec.name].astype(spec.dtype, copy=False) for spec in self._specs.outputs}

    def information(self) -> str:
        """The engine inspector's JSON, for the shapes of the last feed."""
        inspector = self._plan.create_engine_inspector()
        # Without a context that knows the shapes, tensor formats of a dynamic engine are left out.
        inspector.execution_context = self._context
        text: str = inspector.get_engine_information(self._trt.LayerInformationFormat.JSON)
        return text

    def close(self) -> None:
        """Free the device memory and release context, engine and runtime, in that order; twice does no harm."""
        if self._context is None:
            return
        for pointer, _ in self._buffers.values():
            _call("cudaFree", pointer)
        _call("cudaStreamDestroy", self._stream)
        self._buffers = {}
        self._context = self._plan = self._runtime = None

    def _bind_input(self, name: str, array: Array) -> None:
        if not self._context.set_input_shape(name, array.shape):
            raise InputError(f"Input {name!r} has shape {array.shape}, outside of the ranges the engine was built for.")
        self._copy(self._reserve(name, array.nbytes), array.ctypes.data, array.nbytes, "cudaMemcpyHostToDevice")

    def _bind_output(self, spec: TensorSpec) -> Array:
        shape = tuple(self._context.get_tensor_shape(spec.name))
        if min(shape, default=0) < 0:
            raise UnservedError(f"Output {spec.name!r} has a shape that depends on the data, which is not served.")
        array: Array = np.empty(shape, self._dtypes[spec.name])
        self._reserve(spec.name, array.nbytes)
        return array

    def _reserve(self, name: str, size: int) -> int:
        """Device memory of at least `size` bytes for this tensor, kept from call to call."""
        pointer, capacity = self._buffers.get(name, (0, 0))
        if capacity < size or not pointer:
            if pointer:
                _call("cudaFree", pointer)
                del self._buffers[name]
            pointer, capacity = int(_call("cudaMalloc", max(size, 1))), max(size, 1)
            self._buffers[name] = pointer, capacity
        self._context.set_tensor_address(name, pointer)
        return pointer

    def _copy(self, destination: int, source: int, size: int, kind: str) -> None:
        _call("cudaMemcpyAsync", destination, source, size, getattr(_runtime().cudaMemcpyKind, kind), self._stream)


def cast(array: Array, dtype: str, name: str) -> Array:
    """The array in the engine's own dtype.

    TensorRT before 10 has no int64 and declares such inputs int32.

    Raises:
        InputError: an integer does not fit.
    """
    converted: Array = array.astype(dtype, copy=False)
    if array.dtype.kind in "iu" and not np.array_equal(converted, array):
        raise InputError(f"Input {name!r} holds {array.min()} to {array.max()}; the engine takes {dtype}.")
    return converted


def _dtype(plan: Any, name: str) -> str:
    kind: str = plan.get_tensor_dtype(name).name
    if kind not in DTYPES:
        raise InputError(f"Tensor {name!r} is {kind}, which numpy cannot hold.", hint="Cast it in the model.")
    return DTYPES[kind]


def _call(function: str, *arguments: Any) -> Any:
    """Call the CUDA runtime and return its value, if it has one.

    Raises:
        UnservedError: CUDA reports an error.
    """
    runtime = _runtime()
    status, *values = getattr(runtime, function)(*arguments)
    if status != runtime.cudaError_t.cudaSuccess:
        raise UnservedError(f"{function} failed: {_text(runtime, status)}.")
    return values[0] if values else None


def _text(runtime: Any, status: Any) -> str:
    return str(runtime.cudaGetErrorString(status)[1].decode())


def _runtime() -> Any:
    return importlib.import_module("cuda.bindings.runtime")
