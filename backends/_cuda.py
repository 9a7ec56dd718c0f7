"""One TensorRT engine open on a CUDA device, with arrays of numpy; the work is done by `onboard`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..errors import EdgepressError, InputError, RefusedError, UnservedError, VerificationError
from ._vendor import fit
from .base import Array, Engine, Feed, Session
from .onboard.driver import Driver, Gpu
from .onboard.orders import BuildError
from .onboard.sessions import GivenArray, OpenPlan

_KINDS: dict[str, type[EdgepressError]] = {
    "input": InputError,
    "refused": RefusedError,
    "unserved": UnservedError,
    "verification": VerificationError,
}


@contextmanager
def told() -> Iterator[None]:
    """A fault of `onboard` inside is the error of that kind."""
    try:
        yield
    except BuildError as fault:
        raise _KINDS[fault.kind](fault.message, hint=fault.hint or None) from fault


def missing() -> tuple[str, str]:
    """Why no CUDA device can be used here and what to do; two empty strings where one can."""
    try:
        Driver()
    except BuildError as fault:
        return fault.message[0].lower() + fault.message[1:].rstrip("."), fault.hint
    return "", ""


def gpu() -> Gpu | None:
    """The device that engines run on here; None where there is none."""
    try:
        return Driver().gpu
    except BuildError:
        return None


class CudaSession(Session):
    """An engine on device 0. A call's latency includes the transfers to the device and back."""

    def __init__(self, trt: Any, log: Any, engine: Engine, dla: int | None = None) -> None:
        """Open the plan.

        Args:
            trt: the module `tensorrt` or `tensorrt_rtx`.
            log: its logger, with `errors()`.
            engine: the plan and its specs.
            dla: the core of the DLA that it was built for.

        Raises:
            InputError: the file is not a plan of this TensorRT, or was built for another GPU.
            UnservedError: there is no device, or it has too little memory.
        """
        self._specs = engine
        with told():
            plan = engine.path.read_bytes()
            self._open = OpenPlan(trt, log, plan, Driver(), engine.path.name, -1 if dla is None else dla)
        names = list(self._open.slots)
        if unknown := {spec.name for spec in (*engine.inputs, *engine.outputs)}.symmetric_difference(names):
            self.close()
            raise InputError(f"{engine.path.name} has the tensors {names}; they differ in {sorted(unknown)}.")

    def __call__(self, feed: Feed) -> dict[str, Array]:
        """Run one feed.

        Raises:
            InputError: the feed does not fit the specs, or has a size outside of the ranges the engine was built for.
            UnservedError: CUDA or TensorRT fails.
        """
        fit(self._specs.inputs, feed)
        slots = self._open.slots
        arrays = {name: np.asarray(cast(feed[name], slots[name].dtype, name), order="C") for name in feed}
        given = {name: GivenArray(array.shape, array.ctypes.data, array.nbytes) for name, array in arrays.items()}
        with told():
            outputs = self._open.run(given)
        return {
            spec.name: np.frombuffer(outputs[spec.name][1], slots[spec.name].dtype)
            .reshape(outputs[spec.name][0])
            .astype(spec.dtype, copy=False)
            for spec in self._specs.outputs
        }

    def information(self) -> str:
        """The engine inspector's JSON, for the shapes of the last feed; empty where this TensorRT has none."""
        with told():
            return self._open.information()

    def close(self) -> None:
        """Free the device memory and release context, engine and runtime; twice does no harm."""
        with told():
            self._open.close()


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
