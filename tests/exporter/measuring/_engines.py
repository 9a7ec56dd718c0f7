"""Small ONNX files, and a backend of another package that works, crashes, hangs or stops being steady on request."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

# Registered as an installed package would be; what it does is told by the name of the target's option `then`.
BACKEND = """
import os
import time

from edgepress.backends.base import Session
from edgepress.backends.onnxruntime import OnnxRuntime
from edgepress.errors import InputError


class Failing(OnnxRuntime):
    name = "failing"
    fragile = True

    def _check(self, graph, target):
        self._may_crash(target, "check")
        return super()._check(graph, target)

    def _compile(self, graph, target, directory, precision):
        self._may_crash(target, "compile")
        return super()._compile(graph, target, directory, precision)

    def _inspect(self, engine, feed):
        self._may_crash(engine.target, "inspect")
        return super()._inspect(engine, feed)

    def _may_crash(self, target, what):
        if target.options["then"] == f"crash-in-{what}":
            os.abort()

    def _open(self, engine, threads):
        if engine.target.options["then"] == "refuse":
            raise InputError("the engine is of the wrong colour", hint="Paint it.")
        return FailingSession(super()._open(engine, threads), engine.target.options)


class FailingSession(Session):
    def __init__(self, inner, options):
        self.inner, self.options, self.calls, self.begun = inner, options, 0, time.monotonic()

    def __call__(self, feed):
        self.calls += 1
        if self.calls > self.options.get("after", 1 << 60):
            if self.options["then"] == "crash":
                os.abort()
            if self.options["then"] == "hang":
                time.sleep(3600)
        if self.options["then"] == "never-steady":
            time.sleep(0.0005 + 0.004 * (time.monotonic() - self.begun))
        return self.inner(feed)
"""
TARGET = """
name = "failing"
title = "a CPU with a runtime that fails"
arch = "any"
backend = "failing"
precisions = ["fp32"]
toolchain = "onnxruntime-1.31"

[options]
then = "{then}"
after = {after}
"""


def install_failing(directory: Path) -> Path:
    """Put the backend where PYTHONPATH finds it, entry point included; returns that folder."""
    site = directory / "site"
    (site / "failing-1.0.dist-info").mkdir(parents=True)
    (site / "failing.py").write_text(BACKEND)
    (site / "failing-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: failing\nVersion: 1.0\n")
    (site / "failing-1.0.dist-info" / "entry_points.txt").write_text(
        "[edgepress.backends]\nfailing = failing:Failing\n"
    )
    return site


def failing_target(directory: Path, then: str, after: int = 1 << 40) -> Path:
    """A target of that backend: `then` is what happens after so many inferences."""
    path = directory / f"{then}.toml"
    path.write_text(TARGET.format(then=then, after=after))
    return path


def chain(path: Path, layers: int, *, batch: int | str = 1, channels: int = 8, size: int = 12) -> Path:
    """A file of `layers` equal convolutions."""
    rng = np.random.default_rng(0)
    weight = (rng.standard_normal((channels, channels, 3, 3)) / np.sqrt(4.5 * channels)).astype(np.float32)
    nodes = []
    for index in range(layers):
        before = "input" if index == 0 else f"r{index - 1}"
        after = "output" if index == layers - 1 else f"r{index}"
        nodes.append(helper.make_node("Conv", [before, f"w{index}"], [f"c{index}"], name=f"conv{index}", pads=[1] * 4))
        nodes.append(helper.make_node("Relu", [f"c{index}"], [after], name=f"relu{index}"))
    shape = [batch, channels, size, size]
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(weight, f"w{index}") for index in range(layers)],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path
