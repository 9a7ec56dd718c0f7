"""An open engine against stand-ins for CUDA and TensorRT, since neither runs on a machine without a GPU.

The stand-ins keep to the documented behaviour of the calls used: device memory is host memory, the engine computes
y = x + x and n = ids, declared int32 as TensorRT before 10 declares int64. They show that tensors are bound, sized,
cast and released as they should be, not that TensorRT does what its documentation says.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edgepress.backends._cuda import CudaSession, cast, missing
from edgepress.backends.base import Engine, TensorSpec
from edgepress.errors import InputError, UnservedError
from edgepress.profiles.device.target import load_target

TENSORS = {"x": ("FLOAT", "float32"), "ids": ("INT32", "int32"), "y": ("FLOAT", "float32"), "n": ("INT32", "int32")}
INPUTS = (
    TensorSpec(name="x", dtype="float32", shape=("batch", 3)),
    TensorSpec(name="ids", dtype="int64", shape=("batch",)),
)
OUTPUTS = (
    TensorSpec(name="y", dtype="float32", shape=("batch", 3)),
    TensorSpec(name="n", dtype="int64", shape=("batch",)),
)


class Runtime:
    """cuda.bindings.runtime with host memory."""

    cudaError_t = SimpleNamespace(cudaSuccess=0)  # noqa: N815
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)  # noqa: N815

    def __init__(self) -> None:
        self.blocks: dict[int, ctypes.Array[ctypes.c_char]] = {}
        self.streams: set[int] = set()
        self.pending: list[tuple[int, int, int]] = []
        self.limit = 1 << 20

    def cudaGetErrorString(self, status: int) -> tuple[int, bytes]:
        return 0, b"out of memory"

    def cudaGetDeviceCount(self) -> tuple[int, int]:
        return 0, 1

    def cudaMalloc(self, size: int) -> tuple[int, int]:
        assert size > 0
        if size > self.limit:
            return 2, 0
        block = ctypes.create_string_buffer(size)
        self.blocks[ctypes.addressof(block)] = block
        return 0, ctypes.addressof(block)

    def cudaFree(self, pointer: int) -> tuple[int]:
        del self.blocks[pointer]
        return (0,)

    def cudaStreamCreate(self) -> tuple[int, int]:
        self.streams.add(7)
        return 0, 7

    def cudaStreamDestroy(self, stream: int) -> tuple[int]:
        self.streams.remove(stream)
        return (0,)

    def cudaStreamSynchronize(self, stream: int) -> tuple[int]:
        """Copies to the host happen as late as they may, so that who reads early reads zeros."""
        for destination, source, size in self.pending:
            ctypes.memmove(destination, source, size)
        self.pending.clear()
        return (0,)

    def cudaMemcpyAsync(self, destination: int, source: int, size: int, kind: int, stream: int) -> tuple[int]:
        device = destination if kind == 1 else source
        assert size <= len(self.blocks[device])
        if kind == 1:
            ctypes.memmove(destination, source, size)
        else:
            self.pending.append((destination, source, size))
        return (0,)


class Context:
    """IExecutionContext: batch 1 to 8."""

    def __init__(self) -> None:
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shapes[name] = shape
        return 1 <= shape[0] <= 8

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.shapes["x" if name == "y" else "ids"]

    def set_tensor_address(self, name: str, pointer: int) -> bool:
        self.addresses[name] = pointer
        return True

    def read(self, name: str) -> np.ndarray:
        kind, shape = np.dtype(TENSORS[name][1]), self.get_tensor_shape(name)
        size = int(np.prod(shape)) * kind.itemsize
        return np.frombuffer(ctypes.string_at(self.addresses[name], size), kind).reshape(shape)

    def execute_async_v3(self, stream_handle: int) -> bool:
        self.shapes["y"] = self.shapes["x"]
        x = np.frombuffer(ctypes.string_at(self.addresses["x"], int(np.prod(self.shapes["x"])) * 4), np.float32)
        ids = ctypes.string_at(self.addresses["ids"], self.shapes["ids"][0] * 4)
        ctypes.memmove(self.addresses["y"], (x + x).tobytes(), x.nbytes)
        ctypes.memmove(self.addresses["n"], ids, len(ids))
        return stream_handle == 7


class Plan:
    """ICudaEngine."""

    num_io_tensors = len(TENSORS)

    def get_tensor_name(self, index: int) -> str:
        return list(TENSORS)[index]

    def get_tensor_dtype(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(name=TENSORS[name][0])

    def create_execution_context(self) -> Context:
        return Context()


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Runtime:
    runtime = Runtime()
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", runtime)
    return runtime


def trt(plan: Plan | None) -> SimpleNamespace:
    runtime = SimpleNamespace(deserialize_cuda_engine=lambda data: plan if data == b"plan" else None)
    return SimpleNamespace(__version__="10.3.0", Runtime=lambda log: runtime)


LOG = SimpleNamespace(errors=lambda: "magicTag does not match")


def session(path: Path, outputs: tuple[TensorSpec, ...] = OUTPUTS) -> CudaSession:
    path.write_bytes(b"plan")
    engine = Engine(
        path=path, backend="tensorrt", target=load_target("jetson"), precision="int8", inputs=INPUTS, outputs=outputs
    )
    return CudaSession(trt(Plan()), LOG, engine)


@pytest.fixture
def opened(tmp_path: Path, cuda: Runtime) -> Iterator[CudaSession]:
    with session(tmp_path / "model.plan") as open_session:
        assert isinstance(open_session, CudaSession)
        yield open_session


def feed(batch: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(batch)
    return {
        "x": rng.normal(size=(3, batch)).astype(np.float32).T,  # not contiguous
        "ids": rng.integers(-(2**31), 2**31, batch),
    }


def test_batches_grow_and_shrink_and_outputs_stay_the_caller_s(opened: CudaSession) -> None:
    results = [(given := feed(batch), opened(given)) for batch in (2, 8, 1, 3)]
    for given, result in results:
        assert np.array_equal(result["y"], given["x"] * 2)
        assert np.array_equal(result["n"], given["ids"])
        assert (result["y"].dtype, result["n"].dtype) == (np.float32, np.int64)


def test_memory_is_kept_between_calls_and_freed_at_the_end(tmp_path: Path, cuda: Runtime) -> None:
    with session(tmp_path / "model.plan") as run:
        run(feed(4))
        held = set(cuda.blocks)
        assert len(held) == len(TENSORS)
        run(feed(2))
        assert set(cuda.blocks) == held
        run(feed(8))
        assert len(cuda.blocks) == len(TENSORS)
    assert not cuda.blocks
    assert not cuda.streams
    run.close()


def test_what_does_not_fit_is_named(opened: CudaSession) -> None:
    with pytest.raises(InputError, match=r"'x' has shape \(9, 3\), outside of the ranges"):
        opened(feed(9))
    with pytest.raises(InputError, match="the engine takes int32"):
        opened({**feed(1), "ids": np.array([2**31])})
    with pytest.raises(InputError, match="ids"):
        opened({"x": feed(1)["x"]})
    with pytest.raises(InputError, match="dtype float64"):
        opened({**feed(1), "x": np.zeros((1, 3))})


def test_cuda_s_own_words_reach_the_user(opened: CudaSession, cuda: Runtime) -> None:
    cuda.limit = 8
    with pytest.raises(UnservedError, match="cudaMalloc failed: out of memory"):
        opened(feed(8))


def test_a_foreign_file_and_foreign_specs_are_refused(tmp_path: Path, cuda: Runtime) -> None:
    (path := tmp_path / "model.plan").write_bytes(b"something else")
    engine = Engine(
        path=path, backend="tensorrt", target=load_target("jetson"), precision="int8", inputs=INPUTS, outputs=OUTPUTS
    )
    with pytest.raises(InputError, match=r"not an engine that TensorRT 10\.3\.0 reads here: magicTag") as caught:
        CudaSession(trt(Plan()), LOG, engine)
    assert caught.value.hint
    with pytest.raises(InputError, match=r"differ in .*'n'"):
        session(tmp_path / "model.plan", outputs=OUTPUTS[:1])


def test_a_device_is_found_where_cuda_counts_one(cuda: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    assert missing() == ("", "")
    monkeypatch.setattr(cuda, "cudaGetDeviceCount", lambda: (0, 0))
    assert missing()[0] == "no CUDA device"
    monkeypatch.setattr(cuda, "cudaGetDeviceCount", lambda: (35, None))
    assert missing()[0] == "no CUDA device (out of memory)"
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", None)
    assert missing()[0] == "cuda-python is not installed"


def test_int64_feeds_become_what_the_engine_takes() -> None:
    ids = np.array([[0, 2**31 - 1]], np.int64)
    assert cast(ids, "int32", "ids").dtype == np.int32
    assert np.array_equal(cast(ids, "int32", "ids"), ids)
    assert cast(ids, "int64", "ids") is ids
    with pytest.raises(InputError, match=r"'ids' holds 0 to 2147483648; the engine takes int32"):
        cast(ids + np.array([[0, 1]]), "int32", "ids")
