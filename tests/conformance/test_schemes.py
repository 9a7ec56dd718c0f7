"""The schemes that the suite runs over are those that there are files of."""

from __future__ import annotations

from importlib import resources

from edgepress.backends.registry import backend_names

from ._cases import CASES


def test_no_scheme_is_left_out() -> None:
    files = resources.files("edgepress.profiles.device").joinpath("schemes").iterdir()
    stems = {file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml")}
    assert {case.scheme.name for case in CASES if case.scheme} == stems


def test_every_backend_is_held_to_some_int8() -> None:
    """Those of this package; what another one brings has targets of its own."""
    known = {"onnxruntime", "openvino", "tensorrt", "tensorrt-rtx"}
    assert {case.backend for case in CASES if case.scheme} == known & set(backend_names())
