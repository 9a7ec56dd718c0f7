"""CUDA by its driver's own library, which every machine with an NVIDIA GPU has: memory, copies, and what the GPU is.

Names and types: NVIDIA, CUDA Driver API. The versions of these functions have been the same since CUDA 4.
"""

import ctypes
from typing import Any, Dict, NamedTuple, Optional

from .orders import BuildError

LIBRARY = "libcuda.so.1"
# CUdevice_attribute of cuda.h.
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76


class Gpu(NamedTuple):
    """A GPU and its driver.

    Attributes:
        capability: compute capability, as `8.7`.
        memory: bytes.
        driver: the version of CUDA that the driver serves, as `12.6`.
    """

    name: str
    capability: str
    memory: int
    driver: str

    def key(self) -> str:
        """What tells it from other GPUs: name and compute capability."""
        return "{} {}".format(self.name, self.capability)


class Driver:
    """The first device of this machine, in the context that TensorRT uses as well.

    Attributes:
        gpu: what it is.
    """

    def __init__(self, library: Optional[Any] = None) -> None:
        """Use the device.

        Args:
            library: the driver's, where it is another than the system's.

        Raises:
            BuildError: there is no driver, or no device.
        """
        self._library = _loaded() if library is None else library
        self._call("cuInit", ctypes.c_uint(0))
        count, self._device = ctypes.c_int(), ctypes.c_int()
        self._call("cuDeviceGetCount", ctypes.byref(count))
        if not count.value:
            raise BuildError("unserved", "No CUDA device.", "Run this on a machine with an NVIDIA GPU.")
        self._call("cuDeviceGet", ctypes.byref(self._device), ctypes.c_int(0))
        self._context = ctypes.c_void_p()
        self.gpu = self._gpu()

    def enter(self) -> None:
        """Let this thread work on the device."""
        if not self._context.value:
            self._call("cuDevicePrimaryCtxRetain", ctypes.byref(self._context), self._device)
        self._call("cuCtxSetCurrent", self._context)

    def _gpu(self) -> Gpu:
        name, memory, driver = ctypes.create_string_buffer(256), ctypes.c_size_t(), ctypes.c_int()
        self._call("cuDeviceGetName", name, ctypes.c_int(len(name)), self._device)
        self._call("cuDeviceTotalMem_v2", ctypes.byref(memory), self._device)
        self._call("cuDriverGetVersion", ctypes.byref(driver))
        capability = "{}.{}".format(self._attribute(_CAPABILITY_MAJOR), self._attribute(_CAPABILITY_MINOR))
        version = "{}.{}".format(driver.value // 1000, driver.value % 1000 // 10)
        return Gpu(name.value.decode(errors="replace"), capability, memory.value, version)

    def _attribute(self, which: int) -> int:
        found = ctypes.c_int()
        self._call("cuDeviceGetAttribute", ctypes.byref(found), ctypes.c_int(which), self._device)
        return found.value

    def allocate(self, size: int) -> int:
        """Memory of the device; its address."""
        pointer = ctypes.c_uint64()
        self._call("cuMemAlloc_v2", ctypes.byref(pointer), ctypes.c_size_t(size))
        return pointer.value

    def free(self, pointer: int) -> None:
        """Give memory back."""
        self._call("cuMemFree_v2", ctypes.c_uint64(pointer))

    def stream(self) -> int:
        """A queue of work; its handle."""
        handle = ctypes.c_void_p()
        self._call("cuStreamCreate", ctypes.byref(handle), ctypes.c_uint(0))
        return handle.value or 0

    def finish(self, stream: int) -> None:
        """Wait until all is done that was queued."""
        self._call("cuStreamSynchronize", ctypes.c_void_p(stream))

    def end(self, stream: int) -> None:
        """Give a queue back."""
        self._call("cuStreamDestroy_v2", ctypes.c_void_p(stream))

    def to_device(self, pointer: int, address: int, size: int, stream: int) -> None:
        """Queue a copy of host memory, which must stay as it is until it is done."""
        arguments = ctypes.c_uint64(pointer), ctypes.c_void_p(address), ctypes.c_size_t(size), ctypes.c_void_p(stream)
        self._call("cuMemcpyHtoDAsync_v2", *arguments)

    def to_host(self, address: int, pointer: int, size: int, stream: int) -> None:
        """Queue a copy into host memory, which must live until it is done."""
        arguments = ctypes.c_void_p(address), ctypes.c_uint64(pointer), ctypes.c_size_t(size), ctypes.c_void_p(stream)
        self._call("cuMemcpyDtoHAsync_v2", *arguments)

    def _call(self, function: str, *arguments: Any) -> None:
        status = getattr(self._library, function)(*arguments)
        if status:
            told = "No CUDA device ({})." if function == "cuInit" else function + " failed: {}."
            raise BuildError("unserved", told.format(self._text(status)), _REMEDIES.get(status, ""))

    def _text(self, status: int) -> str:
        text = ctypes.c_char_p()
        self._library.cuGetErrorString(ctypes.c_int(status), ctypes.byref(text))
        return text.value.decode(errors="replace") if text.value else "error {}".format(status)


# CUresult of cuda.h: out of memory, no device.
_REMEDIES: Dict[int, str] = {2: "Free device memory.", 100: "Run this on a machine with an NVIDIA GPU."}


def _loaded() -> Any:
    try:
        return ctypes.CDLL(LIBRARY)
    except OSError:
        raise BuildError(
            "unserved",
            "No CUDA device: the NVIDIA driver's {} is not on this machine.".format(LIBRARY),
            "Run this on a machine with an NVIDIA GPU and its driver.",
        )
