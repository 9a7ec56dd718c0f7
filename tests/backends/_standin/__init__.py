"""A stand-in for the Python module of a TensorRT release: it is none, and builds nothing that runs on a GPU.

It has the names that the release's table records (`tensorrt_api/`, from the sources of the bindings) and no others:
what a release lacks raises AttributeError here as it does there, and so does setting what cannot be set. Behind them is
an imitation of what the documentation says: the parser makes layers of an ONNX file, the builder notes what it was
asked for, an engine computes by onnxruntime in host memory. What it shows is that a program asks each release only for
what it has, in an order that makes sense. The real parser and builder are TensorRT-RTX's, in other tests.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from .building import Builder, Parser
from .release import Release, World
from .running import Runtime

TABLES = Path(__file__).parents[1] / "tensorrt_api"
RELEASES = ("8.0", "8.2", "8.5", "8.6", "10.3", "10.13", "10.16", "11.1")
__all__ = ["RELEASES", "TABLES", "World", "module"]


def module(release: str, world: World | None = None, name: str = "tensorrt") -> ModuleType:
    """The module of a release."""
    table = json.loads((TABLES / f"{release}.json").read_text())
    found = Release(name, table, World() if world is None else world)
    for kind, made in (("Builder", Builder), ("OnnxParser", Parser), ("Runtime", Runtime)):
        setattr(found.made, kind, _constructor(found, made))
    return found.made


def _constructor(of: Release, made: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *given: of.shown(made(of, *map(of.real, given)))
