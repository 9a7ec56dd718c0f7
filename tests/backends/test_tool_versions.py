"""Which versions a report and a manifest hold: those of our own tools, and those of the backends' packages."""

from __future__ import annotations

from importlib.metadata import version

import pytest

from edgepress.backends import registry
from edgepress.backends.onnxruntime import OnnxRuntime
from edgepress.backends.registry import backend_names, load_backend, tool_versions
from edgepress.errors import UnservedError


def test_each_installed_package_of_a_backend_is_among_them() -> None:
    packages = {package for name in backend_names() for package in load_backend(name).packages}
    assert {"onnxruntime", "openvino", "tensorrt", "tensorrt-rtx"} <= packages
    assert tool_versions()["onnxruntime"] == version("onnxruntime")
    assert next(iter(tool_versions())) == "edgepress"


def test_a_backend_of_another_package_brings_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    class Other(OnnxRuntime):
        name = "other"
        packages = ("pydantic", "no-such-package")

    def load(name: str) -> OnnxRuntime:
        if name == "broken":
            raise UnservedError("it does not import")
        return Other()

    monkeypatch.setattr(registry, "backend_names", lambda: ("broken", "other"))
    monkeypatch.setattr(registry, "load_backend", load)
    assert tool_versions()["pydantic"] == version("pydantic")
    assert not {"no-such-package", "onnxruntime"} & tool_versions().keys()
