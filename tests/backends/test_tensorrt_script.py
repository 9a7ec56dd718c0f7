"""build.sh for the toolchains of five TensorRT generations."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from edgepress.backends.base import AxisRange, Graph, TensorSpec
from edgepress.backends.tensorrt import TensorRt, TensorRtRtx
from edgepress.errors import InputError
from edgepress.profiles.device.precision import PrecisionName

from ._tensorrt import RANGES, WEAK, jetson

STRONG: dict[PrecisionName, tuple[str, ...]] = {"int8": ("--stronglyTyped",), "fp16": ("--stronglyTyped",)}
TOOLCHAINS = {
    "jetpack-4.6": jetson("jetpack-4.6", "8.0.1", WEAK),
    "jetpack-5.1": jetson("jetpack-5.1", "8.5.2", WEAK),
    "jetpack-6.2": jetson("jetpack-6.2", "10.3", WEAK),
    "jetpack-7.1": jetson("jetpack-7.1", "10.13", STRONG),
    "jetpack-8": jetson("jetpack-8", "11.1"),
}
DETAIL = ("--memPoolSize=workspace:2048", "--profilingVerbosity=detailed", "--exportLayerInfo=layers.json")
DYNAMIC = Graph(
    path=Path("model.onnx"),
    inputs=(
        TensorSpec(name="image", dtype="float32", shape=("batch", 3, 32, "width")),
        TensorSpec(name="serving:0", dtype="int64", shape=("batch",)),
        TensorSpec(name="scale", dtype="float32", shape=(1,)),
    ),
    outputs=(TensorSpec(name="logits", dtype="float32", shape=("batch", 10)),),
    opset=17,
    digest="",
    axes={**RANGES, "width": AxisRange(smallest=16, usual=32, largest=64)},
)


def script(toolchain: str, precision: PrecisionName = "int8", graph: Graph = DYNAMIC) -> str:
    files = TensorRt().recipe_files(graph, TOOLCHAINS[toolchain], precision)
    assert list(files) == ["build.sh", "build.py", "build.json"]
    return files["build.sh"]


def test_the_script_for_jetpack_6() -> None:
    assert script("jetpack-6.2") == (
        "#!/bin/sh\n"
        "# Builds model.plan on the device, for jetson-test with jetpack-6.2 (TensorRT 10.3), int8.\n"
        "# build.py also proves it on the golden inputs and records how it was built; where Python has no TensorRT, "
        "trtexec\n"
        "# builds it, and nothing is proven.\n"
        "set -eu\n"
        'cd "$(dirname "$0")"\n'
        'PYTHON="${PYTHON:-python3}"\n'
        'if "$PYTHON" -c "import tensorrt" 2>/dev/null; then\n'
        '    exec "$PYTHON" build.py "$@"\n'
        "fi\n"
        'echo "$PYTHON has no module tensorrt (apt install python3-libnvinfer): trtexec builds, and nothing is '
        'verified" >&2\n'
        'TRTEXEC="$(command -v trtexec || echo /usr/src/tensorrt/bin/trtexec)"\n'
        'if [ ! -x "$TRTEXEC" ]; then\n'
        '    echo "trtexec is neither in PATH nor in /usr/src/tensorrt/bin; apt install libnvinfer-bin" >&2\n'
        "    exit 5\n"
        "fi\n"
        '"$TRTEXEC" \\\n'
        "    --onnx=../model.onnx \\\n"
        "    --saveEngine=model.plan \\\n"
        "    --int8 \\\n"
        "    --fp16 \\\n"
        "    '--minShapes=image:1x3x32x16,'\"'\"'serving:0'\"'\"':1' \\\n"
        "    '--optShapes=image:2x3x32x32,'\"'\"'serving:0'\"'\"':2' \\\n"
        "    '--maxShapes=image:8x3x32x64,'\"'\"'serving:0'\"'\"':8' \\\n"
        "    --memPoolSize=workspace:2048 \\\n"
        "    --timingCacheFile=timing.cache \\\n"
        "    --profilingVerbosity=detailed \\\n"
        "    --exportLayerInfo=layers.json \\\n"
        "    --skipInference\n"
    )


def test_a_target_that_runs_sparse_weights_allows_their_kernels() -> None:
    target = replace(TOOLCHAINS["jetpack-6.2"], sparse_weights=True)
    assert "--sparsity=enable" in TensorRt().recipe_files(DYNAMIC, target, "int8")["build.sh"]
    assert "--sparsity" not in script("jetpack-6.2")


@pytest.mark.parametrize(
    ("toolchain", "has", "lacks"),
    [
        ("jetpack-4.6", ["--buildOnly", "--int8", "--fp16", "--workspace=2048"], ["--skipInference", *DETAIL]),
        ("jetpack-5.1", ["--buildOnly", "--int8", "--fp16", *DETAIL], ["--skipInference", "--stronglyTyped"]),
        ("jetpack-6.2", ["--skipInference", "--int8", "--fp16"], ["--buildOnly", "--stronglyTyped"]),
        ("jetpack-7.1", ["--skipInference", "--stronglyTyped"], ["--buildOnly", "--int8", "--fp16"]),
        ("jetpack-8", ["--skipInference"], ["--buildOnly", "--stronglyTyped", "--int8", "--fp16"]),
    ],
)
def test_flags_follow_the_toolchain(toolchain: str, has: list[str], lacks: list[str]) -> None:
    words = set(script(toolchain).split())
    assert words >= set(has)
    assert not words & {*lacks, "--noTF32"}
    assert "--noTF32" in script(toolchain, "fp32").split()


@pytest.mark.parametrize("shell", ["bash", "sh"])
@pytest.mark.parametrize("toolchain", list(TOOLCHAINS))
@pytest.mark.parametrize("precision", ["int8", "fp16", "fp32"])
def test_the_script_is_valid_shell(tmp_path: Path, shell: str, toolchain: str, precision: PrecisionName) -> None:
    (tmp_path / "build.sh").write_text(script(toolchain, precision))
    subprocess.run([shell, "-n", "build.sh"], cwd=tmp_path, check=True)


def test_the_script_hands_trtexec_its_arguments_from_anywhere(tmp_path: Path) -> None:
    """A trtexec that only writes down how it was called, found in PATH; the script runs from another directory."""
    (engine := tmp_path / "a bundle" / "engine").mkdir(parents=True)
    (engine / "build.sh").write_text(script("jetpack-6.2"))
    (tmp_path / "bin").mkdir()
    (tool := tmp_path / "bin" / "trtexec").write_text('#!/bin/sh\nprintf "%s\\n" "$PWD" "$@"\n')
    tool.chmod(0o755)
    done = subprocess.run(
        ["sh", str(engine / "build.sh")],
        env={"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    directory, *arguments = done.stdout.splitlines()
    assert directory == str(engine)
    assert "--minShapes=image:1x3x32x16,'serving:0':1" in arguments
    assert all(argument.startswith("--") for argument in arguments)


def test_no_text_of_a_target_becomes_a_command(tmp_path: Path) -> None:
    """Such files are refused when they are read; the script does not rely on it."""
    evil = f"6\n\rtouch {tmp_path}/ran #$(touch {tmp_path}/ran)`touch {tmp_path}/ran`'\";touch {tmp_path}/ran\x85\u2028"
    target = TOOLCHAINS["jetpack-6.2"]
    toolchain = replace(
        target.toolchain, name=evil, versions={"tensorrt": "10.3." + evil}, build_flags={"int8": (evil,)}
    )
    graph = replace(DYNAMIC, inputs=(replace(DYNAMIC.inputs[0], name=evil),))
    files = TensorRt().recipe_files(graph, replace(target, name=evil, toolchain=toolchain), "int8")
    (tmp_path / "trtexec").write_text("#!/bin/sh\nexit 0\n")
    (tmp_path / "trtexec").chmod(0o755)
    (tmp_path / "build.sh").write_text(files["build.sh"])
    subprocess.run(["sh", "build.sh"], cwd=tmp_path, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, check=True)
    assert not (tmp_path / "ran").exists()


def test_the_script_says_where_trtexec_should_be(tmp_path: Path) -> None:
    (tmp_path / "build.sh").write_text(script("jetpack-6.2"))
    done = subprocess.run(
        ["/bin/sh", "build.sh"],
        env={"PATH": "/usr/bin:/bin"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 5
    assert "libnvinfer-bin" in done.stderr


def test_a_static_graph_has_no_shape_flags() -> None:
    static = replace(DYNAMIC, inputs=(TensorSpec(name="image", dtype="float32", shape=(1, 3, 32, 32)),), axes={})
    assert "Shapes" not in script("jetpack-6.2", graph=static)


def test_the_script_needs_ranges_and_a_version() -> None:
    with pytest.raises(InputError, match="free axis 'width'"):
        script("jetpack-6.2", graph=replace(DYNAMIC, axes=RANGES))
    with pytest.raises(InputError, match="TensorRT version as ''"):
        TensorRt().recipe_files(DYNAMIC, replace(jetson(), toolchain=replace(jetson().toolchain, versions={})), "int8")


def test_the_workspace_is_the_target_s() -> None:
    text = TensorRt().recipe_files(DYNAMIC, jetson(options={"workspace_mib": 512}), "int8")["build.sh"]
    assert "--memPoolSize=workspace:512 " in text


def test_a_plan_for_rtx_needs_no_recipe() -> None:
    assert TensorRtRtx().recipe_files(DYNAMIC, jetson(), "int8") == {}
