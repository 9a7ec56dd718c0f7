"""What is installed: the whole package and nothing else, and a command that answers at once."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
EDGEPRESS = Path(sys.executable).with_name("edgepress")
PACKAGES = ("backends", "calibration", "exporter", "metrics", "profiles")
# No command that only answers a question may load these: each costs a second, or is not on a device.
HEAVY = {
    "torch",
    "transformers",
    "onnx",
    "onnx_ir",
    "onnxscript",
    "onnxruntime",
    "openvino",
    "tensorrt",
    "tensorrt_rtx",
    "optuna",
    "sqlalchemy",
    "matplotlib",
    "accelerate",
    "torch_pruning",
    "scipy",
    "pandas",
}
HELP_SECONDS = 0.3


def imported_by(*arguments: str) -> set[str]:
    """Top-level modules that a command line loads."""
    code = (
        "import json, sys\nfrom edgepress.exporter.cli import main\nsys.argv = ['edgepress', *sys.argv[1:]]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "print('\\n' + json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("--version",),
        ("export", "--help"),
        ("tune", "--help"),
        ("verify", "--help"),
        ("report", "--help"),
        ("targets",),
        ("targets", "rtx"),
    ],
)
def test_answers_load_neither_torch_nor_a_vendor(arguments: tuple[str, ...]) -> None:
    loaded = imported_by(*arguments)
    assert not loaded & HEAVY
    if arguments[-1] in ("--help", "--version"):
        assert not loaded & {"numpy", "pydantic", "rich"}


def test_the_package_itself_loads_nothing_heavy() -> None:
    code = "import sys, edgepress; edgepress.InputError; print({n.partition('.')[0] for n in sys.modules})"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {name for name in HEAVY if f"'{name}'" in out}


def test_help_answers_at_once() -> None:
    def seconds() -> float:
        """Processor time: what other processes take of a shared machine is not ours."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([EDGEPRESS, "--help"], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)

    assert min(seconds() for _ in range(7)) < HELP_SECONDS


def test_the_command_line_is_also_a_module() -> None:
    """With several environments at hand, `python -m` says whose command it is."""
    given = ("export", "nothing.py", "--target", "cpu")
    module, command = (
        subprocess.run([*start, *given], capture_output=True, text=True, cwd=Path(__file__).parent)
        for start in ((sys.executable, "-m", "edgepress"), (EDGEPRESS,))
    )
    assert (module.returncode, module.stderr) == (command.returncode, command.stderr)
    assert "nothing.py does not exist" in module.stderr


def test_every_public_name_is_there() -> None:
    import edgepress

    assert sorted(edgepress.__all__) == edgepress.__all__ == dir(edgepress)
    assert all(getattr(edgepress, name) for name in edgepress.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = edgepress.nothing


def test_the_wheel_holds_the_modules_of_the_tree_and_nothing_else(tracked: list[str], wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        held = {name for name in file.namelist() if ".dist-info/" not in name}
    root = {f"edgepress/{name}" for name in ("__init__.py", "__main__.py", "boxes.py", "errors.py", "py.typed")}
    below = {f"edgepress/{name}" for name in tracked if name.startswith(tuple(f"{p}/" for p in PACKAGES))}
    compiled = {name for name in held if re.fullmatch(r"edgepress/calibration/_kernels\.[\w-]+\.so", name)}
    assert len(compiled) == (1 if shutil.which("cc") else 0)  # without a compiler the wheel is slower, not missing
    assert held - compiled == root | below - {"edgepress/calibration/_kernels.c"}
    assert {Path(name).suffix for name in below} == {
        *(".py", ".pyi", ".toml", ".txt", ".c", ".j2", ".css"),
        *(".cpp", ".hpp"),  # of the runner, which is built for a phone
    }


def test_the_base_install_is_for_a_device(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        metadata = next(file.read(n).decode() for n in file.namelist() if n.endswith("/METADATA"))
        points = next(file.read(n).decode() for n in file.namelist() if n.endswith("/entry_points.txt"))
    required = re.findall(r"^Requires-Dist: ([\w-]+)(?![^\n]*extra ==)", metadata, re.MULTILINE)
    assert set(required) == {"annotated-types", "click", "cryptography", "jinja2", "numpy", "pydantic", "rich", "tomli"}
    assert "edgepress = edgepress.exporter.cli:main" in points
    assert "[edgepress.backends]" in points


def test_only_the_base_install_is_imported_by_what_a_device_does() -> None:
    """`verify` and `build`, to the last module."""
    code = (
        "import sys, edgepress.exporter.bundle.build, edgepress.exporter.cli.build, edgepress.exporter.cli.summary\n"
        "print({n.partition('.')[0] for n in sys.modules})"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {name for name in HEAVY if f"'{name}'" in out}


def test_scripts_are_executable_and_valid() -> None:
    for name in ("setup", "demo", "test", "screenshots", "targets", "attack", "operators", "zoo"):
        script = ROOT / "scripts" / name
        assert os.access(script, os.X_OK), f"scripts/{name} is not executable"
        subprocess.run(["bash", "-n", script], check=True)
