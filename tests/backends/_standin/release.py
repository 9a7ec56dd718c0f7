"""What a release shows of itself: the names of its table, in front of what stands for its classes."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

KINDS = {"float32": "FLOAT", "float16": "HALF", "int8": "INT8", "int32": "INT32", "int64": "INT64", "bool": "BOOL"}


@dataclass
class World:
    """What this TensorRT cannot do, and what was asked of it.

    Attributes:
        no_kernel: regions without an integer kernel, by the layer that computes.
        never: a layer that has no kernel for floats either.
        dla_refuses: why the DLA does not take a layer.
    """

    no_kernel: dict[str, str] = field(default_factory=dict)
    never: str = ""
    dla_cores: int = 0
    dla_refuses: dict[str, str] = field(default_factory=dict)
    builds: list[dict[str, Any]] = field(default_factory=list)


class Release:
    def __init__(self, name: str, table: dict[str, Any], world: World) -> None:
        self.table, self.world = table, world
        self.made = ModuleType(name, "a stand-in, not TensorRT")
        self.made.__version__ = table["release"]  # type: ignore[attr-defined]
        self.enums = {}
        for kind, names in table["enums"].items():
            self.enums[kind] = enum.IntEnum(kind, {member: i for i, member in enumerate(names)})
            setattr(self.made, kind, self.enums[kind])
        severity = enum.IntEnum("Severity", "INTERNAL_ERROR ERROR WARNING INFO VERBOSE")
        self.made.ILogger = type("ILogger", (), {"Severity": severity, "log": lambda self, severity, msg: None})  # type: ignore[attr-defined]
        self.facades = {kind: _facade(kind, members, self) for kind, members in table["classes"].items()}

    @property
    def major(self) -> int:
        return int(self.table["release"].split(".")[0])

    def shown(self, value: Any) -> Any:
        stands_for = getattr(type(value), "stands_for", None)
        return self.facades[stands_for](value) if stands_for else value

    def real(self, value: Any) -> Any:
        return getattr(value, "_real", value)

    def say(self, log: Any, severity: str, text: str) -> None:
        log.log(getattr(self.made.ILogger.Severity, severity), text)


def _facade(kind: str, members: dict[str, Any], of: Release) -> type:
    """A class with the members that the table has, and nothing that could be set besides them."""

    def begin(self: Any, real: Any) -> None:
        object.__setattr__(self, "_real", real)

    body: dict[str, Any] = {"__slots__": ("_real",), "__init__": begin}
    for name, said in members.items():
        body[name] = _property(name, said, of) if isinstance(said, str) else _method(kind, name, said, of)
    if kind == "IHostMemory":
        body["__bytes__"] = lambda self: self._real.data
    return type(kind, (), body)


def _property(name: str, said: str, of: Release) -> property:
    def read(self: Any) -> Any:
        return of.shown(getattr(self._real, name))

    def write(self: Any, value: Any) -> None:
        setattr(self._real, name, of.real(value))

    return property(read, write if said == "write" else None)


def _method(kind: str, name: str, arguments: list[str], of: Release) -> Callable[..., Any]:
    def call(self: Any, *given: Any) -> Any:
        least = sum(not argument.endswith("?") for argument in arguments)
        if arguments and not least <= len(given) <= len(arguments):
            raise TypeError(f"{kind}.{name} takes {arguments}, and is given {len(given)}")
        return of.shown(getattr(self._real, name)(*map(of.real, given)))

    return call


class Real:
    stands_for = ""

    def __init__(self, of: Release, *given: Any) -> None:
        self.of = of
        self.begin(*given)

    def begin(self, *given: Any) -> None: ...

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise NotImplementedError(f"{type(self).__name__}.{name}: the stand-in does not imitate it")
