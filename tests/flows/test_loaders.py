"""The loaders of a bundle open its engine and tell a whole one from a damaged one, whatever its tensors are called."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edgepress.backends.base import AxisRange, TensorSpec
from edgepress.exporter.bundle.loaders import slices, write_loaders
from edgepress.exporter.bundle.manifest import EngineEntry, ModelEntry
from edgepress.exporter.capture.golden import Golden
from edgepress.profiles.device.target import load_target
from edgepress.profiles.findings.rows import Rows

from ._flow import Cli, Ran, contents, read
from ._pictures import PHOTO_OPTIONS, photo_project

HERE = Path(__file__).parent
# The header of a full onnxruntime where one is named; what of it a loader uses otherwise.
HEADERS = os.environ.get("ONNXRUNTIME_INCLUDE", str(HERE / "capi"))
# Where the packages have their libraries and headers.
LIBRARIES = {"onnxruntime": ("capi", HEADERS), "openvino": ("libs", "include")}
# Keywords, quotes, other scripts, a line break, what comments and templates are written with, names that coincide.
NAMES = [
    "class",
    "my input/0",
    'a "quoted" \\ name',
    "画像",
    "1st",
    "Tensor",
    "line\nbreak $x ??/ */",
    "a_b",
    "a b",
    "self",
]
TYPES = {
    "every type": ["bool", "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16"],
    "types that all libraries take": ["float32", "int64", "int32", "uint8", "int8"],
}
Program = Callable[[Path], subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Program]:
    """Compile a bundle's loader in C++ against the library that the package of its runtime brings."""

    def build(bundle: Path, runtime: str = "onnxruntime") -> Program:
        package = Path(pytest.importorskip(runtime).__file__).parent
        libraries, headers = LIBRARIES[runtime]
        compiler, found = shutil.which("g++"), sorted((package / libraries).glob(f"lib{runtime}.so.*"))
        if compiler is None or not found:
            pytest.skip(f"needs g++, and a package of {runtime} that has lib{runtime}.so")
        place = tmp_path_factory.mktemp("native")
        for name in (f"lib{runtime}.so", "libonnxruntime.so.1"):
            (place / name).symlink_to(found[0])
        source, program = bundle / "loaders" / "check.cpp", place / "check"
        words = [compiler, "-std=c++17", "-Wall", "-Wextra", "-Werror", "-isystem", package / headers, source]
        ran = run([*words, "-o", program, f"-L{place}", f"-l{runtime}", f"-Wl,-rpath,{place}:{found[0].parent}"])
        assert ran.returncode == 0, ran.stderr
        return lambda directory: run([program, directory])

    return build


def run(words: Sequence[object]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=300)


def in_python(bundle: Path) -> Program:
    return lambda directory: run([sys.executable, bundle / "loaders" / "loader.py", directory])


def with_one_weight_changed(bundle: Path, place: Path) -> Path:
    """A copy in whose engine the largest integer weight of the smallest weighted layer has the other sign."""
    shutil.copytree(bundle, place)
    weights = [w for w in onnx.load(bundle / "model.onnx").graph.initializer if len(w.dims) > 1 and w.data_type == 3]
    values = min((numpy_helper.to_array(weight) for weight in weights), key=lambda array: array.size)
    changed = values.copy().reshape(-1)
    changed[np.abs(changed.astype(int)).argmax()] *= -1
    [engine] = (file for file in (place / "engine").iterdir() if file.suffix in (".ort", ".onnx", ".bin"))
    whole = engine.read_bytes()
    assert whole.count(values.tobytes()) == 1
    engine.write_bytes(whole.replace(values.tobytes(), changed.tobytes()))
    return place


def assert_told_apart(program: Program, bundle: Path, damaged: Path) -> None:
    whole, other, none = program(bundle), program(damaged), program(bundle / "golden")
    assert (whole.returncode, "NOT OK" in whole.stdout) == (0, False), whole.stdout + whole.stderr
    assert (other.returncode, "NOT OK" in other.stdout) == (1, True), other.stdout + other.stderr
    assert (none.returncode, none.stderr.startswith("error: There is no ")) == (2, True), none.stderr


def exported(ran: Ran, bundle: Path) -> Path:
    assert ran.code == 0, ran.err
    return bundle


def test_loaders_tell_one_changed_weight(cli: Cli, small: Path, tmp_path: Path, built: Callable[..., Program]) -> None:
    words = ("export", small, "-t", "mobile", "--precision", "int8", "--no-measure", "-q")
    bundle = exported(cli(*words), tmp_path / "dist" / "small-android-arm64")
    damaged = with_one_weight_changed(bundle, tmp_path / "damaged")
    for program in (built(bundle), in_python(bundle)):
        assert_told_apart(program, bundle, damaged)

    listed = {name for name in read(bundle, "manifest.json")["files"] if name.startswith("loaders/")}
    files = {"README.md", "loader.hpp", "check.cpp", "loader.py", "Loader.kt", "Loader.swift"}
    assert listed == {f"loaders/{file}" for file in files}
    page = (bundle / "loaders" / "README.md").read_text()
    for provider in ("CPU", "NNAPI", "Core ML (MLProgram)", "Core ML (NeuralNetwork)", "XNNPACK", "QNN"):
        assert f"| {provider} | " in page
    assert "--include_ops_by_config BUNDLE/engine/required_operators_and_types.config" in page
    assert "--dim_param batch --dim_value 1 model.onnx fixed.onnx" in page
    assert_reads_as_list_of_operators(bundle / "engine" / "required_operators_and_types.config")


def assert_reads_as_list_of_operators(path: Path) -> None:
    """By the parser that onnxruntime's own build reads it with."""
    from onnxruntime.tools.reduced_build_config_parser import parse_config

    operators, types = parse_config(str(path), True)
    assert {"QLinearConv", "QGemm"} <= operators["com.microsoft"][1]
    assert types is not None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "runtime"), [("android-arm64", "onnxruntime"), ("server-cpu", "onnxruntime"), ("cpu", "openvino")]
)
def test_loaders_of_digits(
    target: str, runtime: str, cli: Cli, examples: Path, tmp_path: Path, built: Callable[..., Program]
) -> None:
    words = ("export", examples / "digits.py", "-t", target, "--precision", "int8", "--no-measure", "-q")
    bundle = exported(cli(*words), tmp_path / "dist" / f"digits-{target}")
    damaged = with_one_weight_changed(bundle, tmp_path / "damaged")
    for program in (built(bundle, runtime), in_python(bundle)):
        assert_told_apart(program, bundle, damaged)


@pytest.mark.slow
@pytest.mark.parametrize(("target", "runtime"), [("android-arm64", "onnxruntime"), ("cpu", "openvino")])
def test_loaders_of_images_in_bytes(
    target: str, runtime: str, cli: Cli, tmp_path: Path, built: Callable[..., Program]
) -> None:
    """[N, H, W, C] of bytes, with pre- and postprocessing in the engine, in C++ and in Python."""
    photo_project(tmp_path)
    bundle = exported(cli("export", "photo.py", "-t", target, *PHOTO_OPTIONS), tmp_path / "dist" / f"photo-{target}")
    damaged = with_one_weight_changed(bundle, tmp_path / "damaged")
    for program in (built(bundle, runtime), in_python(bundle)):
        assert_told_apart(program, bundle, damaged)


@pytest.fixture(params=TYPES)
def hostile(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A bundle's directory around a model that gives what it is given, with names that no language would choose."""
    types = [TYPES[request.param][index % len(TYPES[request.param])] for index in range(len(NAMES))]
    rng = np.random.default_rng(0)
    arrays = {name: rng.integers(0, 2, (2, 3)).astype(dtype) for name, dtype in zip(NAMES, types, strict=True)}
    values = {
        way: [
            helper.make_tensor_value_info(way + name, helper.np_dtype_to_tensor_dtype(array.dtype), ["batch", 3])
            for name, array in arrays.items()
        ]
        for way in ("", "out ")
    }
    nodes = [helper.make_node("Identity", [name], [f"out {name}"]) for name in NAMES]
    graph = helper.make_graph(nodes, "same", values[""], values["out "])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (tmp_path / "engine").mkdir()
    for file in ("model.onnx", "engine/model.onnx"):
        onnx.save(model, tmp_path / file)
    feed = {name: np.asfortranarray(array) for name, array in arrays.items()}
    Golden(feeds=(feed,), outputs=({f"out {name}": array for name, array in feed.items()},)).save(tmp_path / "golden")
    write_loaders(tmp_path, manifest(types))
    return tmp_path


def manifest(types: Sequence[str]) -> dict[str, object]:
    def specs(way: str) -> tuple[TensorSpec, ...]:
        pairs = zip(NAMES, types, strict=True)
        return tuple(TensorSpec(name=way + name, dtype=dtype, shape=("batch", 3)) for name, dtype in pairs)

    return {
        "model": ModelEntry(
            name='a "model" 名\\',
            source_kind="onnx",
            source_digest="0" * 64,
            graph_digest="1" * 64,
            opset=17,
            inputs=specs(""),
            outputs=specs("out "),
            axes={"batch": AxisRange(smallest=1, usual=2, largest=8)},
        ),
        "target": load_target("ios"),
        "engine": EngineEntry(backend="onnxruntime", precision="fp32", path="engine/model.onnx"),
        "minimum_sqnr_db": 40.0,
        "minimum_graph_db": None,
        "golden": 1,
        "tools": {"onnxruntime": "1.31.1"},
    }


def test_names_that_no_language_would_choose(hostile: Path, built: Callable[..., Program]) -> None:
    programs = built(hostile), in_python(hostile)
    for program in programs:
        ran = program(hostile)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert [f"out {name}" in ran.stdout for name in NAMES] == [True] * len(NAMES)
    for other in (np.nan, np.inf, 3.0):
        with_another_reference(hostile, other)
        for program in programs:
            ran = program(hostile)
            assert (ran.returncode, ran.stdout.count("NOT OK"), ran.stderr) == (1, 1, ""), (other, ran)
    assert all(text.isascii() for name, text in contents(hostile / "loaders").items() if name != "README.md")


def with_another_reference(bundle: Path, value: float) -> None:
    """The golden data with one value of a float32 output changed: what the engine gives is no longer that."""
    golden = Golden.load(bundle / "golden")
    name, array = next((name, array) for name, array in golden.outputs[0].items() if array.dtype == np.float32)
    changed = array.copy()
    changed.flat[0] = value
    replace(golden, outputs=({**golden.outputs[0], name: changed},)).save(bundle / "golden")


def rows_of(
    bundle: Path, references: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]], of: tuple[str, ...]
) -> None:
    """The bundle with sets of rows among its outputs, and its loaders written again."""
    golden = Golden.load(bundle / "golden")
    rows = (Rows(outputs=of, axis=0),)
    replace(golden, outputs=({**golden.outputs[0], **references},), rows=rows).save(bundle / "golden")
    write_loaders(bundle, manifest([array.dtype.name for array in golden.feeds[0].values()]))


def test_rows_in_another_order_are_not_judged(hostile: Path, built: Callable[..., Program]) -> None:
    """What `edgepress verify` matches row by row is neither as close as asked by place nor shown to be wrong."""
    outputs = Golden.load(hostile / "golden").outputs[0]
    first, second, other = list(outputs)[:3]
    swapped = {name: 1 - outputs[name].astype(np.uint8) for name in (first, second)}
    swapped = {name: array.astype(outputs[name].dtype) for name, array in swapped.items()}
    fewer = {first: outputs[first][:1]}
    wrong = {**swapped, other: (1 - outputs[other].astype(np.uint8)).astype(outputs[other].dtype)}
    for references, code, unjudged, not_ok in (({}, 0, 0, 0), (swapped, 3, 2, 0), (fewer, 3, 1, 0), (wrong, 1, 2, 1)):
        rows_of(hostile, {**outputs, **references}, (first, second))
        for program in (built(hostile), in_python(hostile)):
            ran = program(hostile)
            said = ran.returncode, ran.stdout.count("NOT JUDGED"), ran.stdout.count("NOT OK"), ran.stderr
            assert said == (code, unjudged, not_ok, ""), ran
            assert ("edgepress verify" in ran.stdout) == (unjudged > 0)
    loaders = {name: data.decode() for name, data in contents(hostile / "loaders").items()}
    assert "sets of rows" in loaders["README.md"]
    for name, words in (("Loader.kt", ""), ("Loader.swift", "rows: ")):
        marked = f"Agreement({words}true), Agreement({words}true), Agreement({words}false)"
        assert name not in loaders or marked in loaders[name]


def test_a_language_without_a_type_says_so(hostile: Path) -> None:
    page = (hostile / "loaders" / "README.md").read_text()
    assert ("has no tensors of uint16" in page) != (hostile / "loaders" / "Loader.kt").exists()
    assert ("has no tensors of bool and" in page) != (hostile / "loaders" / "Loader.swift").exists()


@pytest.mark.slow
def test_kotlin_compiles(hostile: Path, tmp_path: Path) -> None:
    """Against the signatures of onnxruntime's library for Java: no package brings the library itself."""
    compiler, loader = shutil.which("kotlinc"), hostile / "loaders" / "Loader.kt"
    if compiler is None or not loader.exists():
        pytest.skip("needs kotlinc, as the npm package kotlin-compiler has it, and a loader in Kotlin")
    ran = run([compiler, "-Werror", HERE / "javaapi", loader, "-d", tmp_path / "loader.jar"])
    assert ran.returncode == 0, ran.stderr


def test_slices_are_the_arrays(tmp_path: Path) -> None:
    arrays = {"a": np.arange(6.0).reshape(2, 3), "名": np.array(7, np.int64), "c": np.zeros((0, 2), bool)}
    np.savez(tmp_path / "some.npz", **arrays)
    whole, found = (tmp_path / "some.npz").read_bytes(), slices(tmp_path / "some.npz", "golden/some.npz")
    for name, array in arrays.items():
        one = found[name]
        read_back = np.frombuffer(whole, one.dtype, array.size, one.offset).reshape(one.shape)
        np.testing.assert_array_equal(read_back, array)
