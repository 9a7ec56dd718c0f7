"""An engine, open on the GPU: by named tensors from TensorRT 8.5 on, by numbered bindings before.

A call copies the inputs to the device, runs, and copies the outputs back.
"""

import ctypes
from typing import Any, Dict, List, NamedTuple, Tuple

from .driver import Driver
from .orders import BuildError, Dims

# By DataType: numpy's name and the bytes of an element. tensorrt.nptype of 8.x raises with numpy 1.24 and later.
TYPES = {
    "FLOAT": ("float32", 4),
    "HALF": ("float16", 2),
    "INT8": ("int8", 1),
    "UINT8": ("uint8", 1),
    "INT32": ("int32", 4),
    "INT64": ("int64", 8),
    "BOOL": ("bool", 1),
}


class Slot(NamedTuple):
    """An input or an output of an engine; its number before 8.5."""

    name: str
    number: int
    dtype: str
    bytes_each: int
    is_input: bool


class GivenArray(NamedTuple):
    """An input: elements in C order of the type of its slot, at an address that stays valid during the call."""

    shape: Dims
    address: int
    size: int


class OpenPlan:
    """One engine on the first device."""

    def __init__(self, trt: Any, log: Any, plan: bytes, driver: Driver, name: str, dla: int = -1) -> None:
        """Open it.

        Args:
            name: of its file, for messages.
            dla: the core of the DLA that it may use where there is one; negative for none.

        Raises:
            BuildError: it is not a plan of this TensorRT or of this GPU, or the device has too little memory.
        """
        self._trt, self._log, self._driver, self.name = trt, log, driver, name
        self._held: Dict[str, Tuple[int, int]] = {}
        self._stream = 0
        driver.enter()
        self._runtime = trt.Runtime(log)
        if 0 <= dla < int(getattr(self._runtime, "num_DLA_cores", 0)):
            self._runtime.DLA_core = dla
        self._plan = self._runtime.deserialize_cuda_engine(plan)
        if self._plan is None:
            raise BuildError(
                "input",
                f"{name} is not an engine that TensorRT {trt.__version__} reads here: {log.errors()}.",
                "Build it again on this machine with `edgepress build`.",
            )
        self._context = self._plan.create_execution_context()
        if self._context is None:
            raise BuildError("unserved", f"TensorRT cannot run {name}: {log.errors()}.", "Free device memory.")
        self._named = hasattr(self._plan, "num_io_tensors")
        self.slots = {slot.name: slot for slot in map(self._slot, range(self._count()))}
        self._stream = driver.stream()

    def _count(self) -> int:
        return int(self._plan.num_io_tensors if self._named else self._plan.num_bindings)

    def _slot(self, number: int) -> Slot:
        plan = self._plan
        if self._named:
            name = plan.get_tensor_name(number)
            kind, is_input = plan.get_tensor_dtype(name).name, plan.get_tensor_mode(name).name == "INPUT"
        else:
            name = plan.get_binding_name(number)
            kind, is_input = plan.get_binding_dtype(number).name, bool(plan.binding_is_input(number))
        if kind not in TYPES:
            raise BuildError("input", f"Tensor {name!r} is {kind}, which numpy cannot hold.", "Cast it in the model.")
        return Slot(name, number, TYPES[kind][0], TYPES[kind][1], is_input)

    def run(self, given: Dict[str, GivenArray]) -> Dict[str, Tuple[Dims, bytearray]]:
        """One inference: shape and content of each output.

        Raises:
            BuildError: an input has a size outside of the ranges the engine was built for, or CUDA or TensorRT fails.
        """
        self._driver.enter()
        for name, one in given.items():
            self._bind(self.slots[name], one)
        outputs: Dict[str, Tuple[Dims, bytearray]] = {}
        for slot in self.slots.values():
            if not slot.is_input:
                outputs[slot.name] = self._made_ready(slot)
        if not self._execute():
            raise BuildError("unserved", f"TensorRT failed to run the engine: {self._log.errors()}.")
        kept: List[Any] = []
        for name, (_, content) in outputs.items():
            if content:
                kept.append((ctypes.c_char * len(content)).from_buffer(content))
                self._driver.to_host(ctypes.addressof(kept[-1]), self._held[name][0], len(content), self._stream)
        # The copies above are asynchronous: until here what they read and write must stay alive.
        self._driver.finish(self._stream)
        return outputs

    def _bind(self, slot: Slot, one: GivenArray) -> None:
        context = self._context
        if self._named:
            fits = context.set_input_shape(slot.name, one.shape)
        else:
            fits = context.set_binding_shape(slot.number, one.shape)
        if not fits:
            raise BuildError(
                "input",
                f"Input {slot.name!r} has shape {tuple(one.shape)}, outside of the ranges the engine was built for.",
            )
        pointer = self._reserve(slot, one.size)
        if one.size:
            self._driver.to_device(pointer, one.address, one.size, self._stream)

    def _made_ready(self, slot: Slot) -> Tuple[Dims, bytearray]:
        context = self._context
        found = context.get_tensor_shape(slot.name) if self._named else context.get_binding_shape(slot.number)
        shape = tuple(int(size) for size in found)
        if min(shape, default=0) < 0:
            raise BuildError(
                "unserved",
                f"Output {slot.name!r} has a shape that depends on the data, which is not served.",
            )
        size = slot.bytes_each
        for axis in shape:
            size *= axis
        self._reserve(slot, size)
        return shape, bytearray(size)

    def _reserve(self, slot: Slot, size: int) -> int:
        """Device memory of at least `size` bytes for this tensor, kept from call to call."""
        pointer, capacity = self._held.get(slot.name, (0, 0))
        if capacity < size or not pointer:
            if pointer:
                self._driver.free(pointer)
                del self._held[slot.name]
            pointer, capacity = self._driver.allocate(max(size, 1)), max(size, 1)
            self._held[slot.name] = pointer, capacity
        if self._named:
            self._context.set_tensor_address(slot.name, pointer)
        return pointer

    def _execute(self) -> bool:
        if self._named:
            return bool(self._context.execute_async_v3(self._stream))
        pointers = [self._held[slot.name][0] for slot in sorted(self.slots.values(), key=lambda slot: slot.number)]
        return bool(self._context.execute_async_v2(pointers, self._stream))

    def information(self) -> str:
        """The engine inspector's JSON, for the shapes of the last call; empty where this TensorRT has none (8.0)."""
        if not hasattr(self._plan, "create_engine_inspector"):
            return ""
        inspector = self._plan.create_engine_inspector()
        # Without a context that knows the shapes, tensor formats of a dynamic engine are left out.
        inspector.execution_context = self._context
        return str(inspector.get_engine_information(self._trt.LayerInformationFormat.JSON))

    def close(self) -> None:
        """Free the device memory and release context, engine and runtime, in that order; twice does no harm."""
        if self._context is None:
            return
        for pointer, _ in self._held.values():
            self._driver.free(pointer)
        if self._stream:
            self._driver.end(self._stream)
        self._held, self._stream = {}, 0
        self._context = self._plan = self._runtime = None
