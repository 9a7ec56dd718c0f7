"""An open engine against stand-ins for CUDA and TensorRT, since neither runs on a machine without a GPU.

The stand-ins keep to the documented behaviour of the calls used: device memory is host memory, the engine computes
y = x + x and n = ids, declared int32 as TensorRT before 10 declares int64. They show that tensors are bound, sized,
cast and released as they should be, not that TensorRT does what its documentation says.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgepress.backends._cuda import CudaSession, cast, gpu, missing
from edgepress.backends.base import Engine, TensorSpec
from edgepress.backends.onboard import driver
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


class Library:
    """libcuda.so.1 with host memory."""

    def __init__(self) -> None:
        self.blocks: dict[int, ctypes.Array[ctypes.c_char]] = {}
        self.streams: set[int] = set()
        self.pending: list[tuple[int, int, int]] = []
        self.limit = 1 << 20
        self.devices = 1
        self.absent = 0

    def cuInit(self, flags: ctypes.c_uint) -> int:
        return self.absent

    def cuGetErrorString(self, status: ctypes.c_int, text: Any) -> int:
        text._obj.value = {2: b"out of memory", 100: b"no CUDA-capable device is detected"}[status.value]
        return 0

    def cuDeviceGetCount(self, count: Any) -> int:
        count._obj.value = self.devices
        return 0

    def cuDeviceGet(self, device: Any, ordinal: ctypes.c_int) -> int:
        device._obj.value = 3
        return 0

    def cuDeviceGetName(self, name: Any, size: ctypes.c_int, device: ctypes.c_int) -> int:
        name.value = b"Orin (nvgpu)"
        return 0

    def cuDeviceTotalMem_v2(self, size: Any, device: ctypes.c_int) -> int:
        size._obj.value = 8 << 30
        return 0

    def cuDeviceGetAttribute(self, value: Any, which: ctypes.c_int, device: ctypes.c_int) -> int:
        value._obj.value = {75: 8, 76: 7}[which.value]
        return 0

    def cuDriverGetVersion(self, version: Any) -> int:
        version._obj.value = 12060
        return 0

    def cuDevicePrimaryCtxRetain(self, context: Any, device: ctypes.c_int) -> int:
        context._obj.value = 11
        return 0

    def cuCtxSetCurrent(self, context: ctypes.c_void_p) -> int:
        assert context.value == 11
        return 0

    def cuMemAlloc_v2(self, pointer: Any, size: ctypes.c_size_t) -> int:
        assert size.value > 0
        if size.value > self.limit:
            return 2
        block = ctypes.create_string_buffer(size.value)
        pointer._obj.value = ctypes.addressof(block)
        self.blocks[ctypes.addressof(block)] = block
        return 0

    def cuMemFree_v2(self, pointer: ctypes.c_uint64) -> int:
        del self.blocks[pointer.value]
        return 0

    def cuStreamCreate(self, stream: Any, flags: ctypes.c_uint) -> int:
        stream._obj.value = 7
        self.streams.add(7)
        return 0

    def cuStreamDestroy_v2(self, stream: ctypes.c_void_p) -> int:
        self.streams.remove(stream.value or 0)
        return 0

    def cuStreamSynchronize(self, stream: ctypes.c_void_p) -> int:
        """Copies to the host happen as late as they may, so that who reads early reads zeros."""
        for destination, source, size in self.pending:
            ctypes.memmove(destination, source, size)
        self.pending.clear()
        return 0

    def cuMemcpyHtoDAsync_v2(self, pointer: Any, address: Any, size: ctypes.c_size_t, stream: ctypes.c_void_p) -> int:
        assert size.value <= len(self.blocks[pointer.value])
        ctypes.memmove(pointer.value, address.value, size.value)
        return 0

    def cuMemcpyDtoHAsync_v2(self, address: Any, pointer: Any, size: ctypes.c_size_t, stream: ctypes.c_void_p) -> int:
        assert size.value <= len(self.blocks[pointer.value])
        self.pending.append((address.value, pointer.value, size.value))
        return 0


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

    def get_tensor_mode(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(name="INPUT" if name in ("x", "ids") else "OUTPUT")

    def create_execution_context(self) -> Context:
        return Context()


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Library:
    library = Library()
    monkeypatch.setattr(driver, "_loaded", lambda: library)
    return library


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
def opened(tmp_path: Path, cuda: Library) -> Iterator[CudaSession]:
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


def test_memory_is_kept_between_calls_and_freed_at_the_end(tmp_path: Path, cuda: Library) -> None:
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


def test_cuda_s_own_words_reach_the_user(opened: CudaSession, cuda: Library) -> None:
    cuda.limit = 8
    with pytest.raises(UnservedError, match="cuMemAlloc_v2 failed: out of memory"):
        opened(feed(8))


def test_a_foreign_file_and_foreign_specs_are_refused(tmp_path: Path, cuda: Library) -> None:
    (path := tmp_path / "model.plan").write_bytes(b"something else")
    engine = Engine(
        path=path, backend="tensorrt", target=load_target("jetson"), precision="int8", inputs=INPUTS, outputs=OUTPUTS
    )
    with pytest.raises(InputError, match=r"not an engine that TensorRT 10\.3\.0 reads here: magicTag") as caught:
        CudaSession(trt(Plan()), LOG, engine)
    assert caught.value.hint
    with pytest.raises(InputError, match=r"differ in .*'n'"):
        session(tmp_path / "model.plan", outputs=OUTPUTS[:1])


def test_a_device_is_found_where_cuda_counts_one(cuda: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    assert missing() == ("", "")
    found = gpu()
    assert found is not None
    assert (found.name, found.capability, found.memory, found.driver) == ("Orin (nvgpu)", "8.7", 8 << 30, "12.6")
    cuda.devices = 0
    assert missing()[0] == "no CUDA device"
    cuda.absent = 100
    assert missing()[0] == "no CUDA device (no CUDA-capable device is detected)"
    monkeypatch.undo()
    monkeypatch.setattr(driver, "LIBRARY", "libcuda-absent.so.1")
    assert missing()[0] == "no CUDA device: the NVIDIA driver's libcuda-absent.so.1 is not on this machine"
    assert gpu() is None


def test_int64_feeds_become_what_the_engine_takes() -> None:
    ids = np.array([[0, 2**31 - 1]], np.int64)
    assert cast(ids, "int32", "ids").dtype == np.int32
    assert np.array_equal(cast(ids, "int32", "ids"), ids)
    assert cast(ids, "int64", "ids") is ids
    with pytest.raises(InputError, match=r"'ids' holds 0 to 2147483648; the engine takes int32"):
        cast(ids + np.array([[0, 1]]), "int32", "ids")
