"""Large constants written as they come, so that a model larger than memory can be stored.

OpenVINO holds the data of its constants until a model is saved. Here the graph is built with parameters in their
place, the data go to the `.bin` at once, and the description on disk is told where they lie: a layer `Const` is a
layer `Parameter` with an offset and a size (IR version 11).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from ....backends._vendor import import_or_explain, unwritten

# OpenVINO aligns constants of a file that it maps to this many bytes.
ALIGNMENT = 64
# Below it a constant stays in the graph, where OpenVINO may compute with it while the graph is built.
SMALL = 1 << 10
_TYPES = {"float32": "f32", "float16": "f16"}


class ConstantStore:
    """The `.bin` of a model that is being written."""

    def __init__(self, path: Path) -> None:
        """Open `path`, the `.xml`; its `.bin` lies beside it."""
        self._path = path
        self._file = path.with_suffix(".bin").open("wb")
        self._placed: dict[str, tuple[int, int]] = {}
        self._nodes: list[Any] = []

    def __enter__(self) -> ConstantStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def constant(self, name: str, array: npt.NDArray[Any], kind: str = "", shape: tuple[int, ...] | None = None) -> Any:
        """The node that stands for these data.

        Args:
            kind: as OpenVINO calls the type, where it is not that of the array: `u4` of packed bytes.
            shape: likewise.
        """
        ov, ops = import_or_explain("openvino"), import_or_explain("openvino.opset15")
        shape = array.shape if shape is None else shape
        if not kind and array.nbytes < SMALL:
            return _named(ops.constant(array), name)
        kind = kind or _TYPES[array.dtype.name]
        self._place(name, array)
        node = _named(ops.parameter(list(shape), getattr(ov.Type, kind)), name)
        self._nodes.append(node)
        return node

    def write(self, model: Callable[[list[Any]], Any]) -> None:
        """Write the description.

        Args:
            model: makes the model of which these nodes are parameters, too.

        Raises:
            InputError: there is no room.
        """
        draft = self._path.with_name(f"{self._path.stem}.draft.xml")
        rest = draft.with_suffix(".bin")
        try:
            import_or_explain("openvino").serialize(model(self._nodes), draft, rest)
            base = self._append(rest)
            tree = ElementTree.parse(draft)
            self._settle(tree.getroot(), base)
            tree.write(self._path, encoding="utf-8", xml_declaration=True)
        except (RuntimeError, OSError) as error:
            raise unwritten(self._path.name, error) from error
        finally:
            draft.unlink(missing_ok=True)
            rest.unlink(missing_ok=True)

    def _place(self, name: str, array: npt.NDArray[Any]) -> None:
        self._align()
        try:
            self._placed[name] = (self._file.tell(), array.nbytes)
            self._file.write(np.ascontiguousarray(array).data)
        except OSError as error:
            raise unwritten(self._path.with_suffix(".bin").name, error) from error

    def _align(self) -> None:
        self._file.write(bytes(-self._file.tell() % ALIGNMENT))

    def _append(self, rest: Path) -> int:
        self._align()
        base = self._file.tell()
        with rest.open("rb") as small:
            shutil.copyfileobj(small, self._file)
        self._file.flush()
        return base

    def _settle(self, net: ElementTree.Element, base: int) -> None:
        """Say where each constant lies: what OpenVINO wrote itself is behind what was placed."""
        for layer in net.iter("layer"):
            data = layer.find("data")
            if data is None:
                continue
            if layer.get("name") in self._placed:
                offset, size = self._placed[str(layer.get("name"))]
                layer.set("type", "Const")
                data.set("offset", str(offset))
                data.set("size", str(size))
            elif layer.get("type") == "Const":
                data.set("offset", str(int(data.get("offset", "0")) + base))


def _named(node: Any, name: str) -> Any:
    node.set_friendly_name(name)
    return node
