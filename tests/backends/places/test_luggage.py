"""What is brought to a device: what its Python lacks and nothing else, for its architecture and version."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from edgepress.backends.places.ssh.helper.store import library_path
from edgepress.backends.places.ssh.luggage import Python, downloaded, lacking, own_wheel, pinned, required
from edgepress.errors import UnservedError

pytest.importorskip("packaging")


def device(version: tuple[int, int] = (3, 10), **packages: tuple[str, tuple[str, ...]]) -> Python:
    dotted = ".".join(map(str, version))
    markers = {"python_version": dotted, "platform_machine": "aarch64", "sys_platform": "linux"}
    return Python(version=version, arch="aarch64", libc=("glibc", "2.35"), packages=packages, markers=markers)


def test_a_bare_python_lacks_all_and_one_that_is_old_more() -> None:
    assert lacking(device((3, 12)), required(("onnxruntime",), brought=True)) == tuple(
        sorted(text for text in (*_base(), "onnxruntime>=1.20") if not text.startswith("tomli"))
    )
    assert "tomli>=2.0" in lacking(device((3, 10)), required((), brought=True))


def test_what_the_device_has_is_taken_with_what_that_needs() -> None:
    wanted = ("numpy>=1.26", "rich>=13.7")
    assert lacking(device(numpy=("1.21.0", ()), rich=("14.0", ("pygments>=2",))), wanted) == (
        "numpy>=1.26",
        "pygments>=2",
    )
    whole = {"numpy": ("2.0.0", ()), "Rich": ("14.0", ("pygments>=2", "x; extra == 'y'")), "Pygments": ("2.1", ())}
    assert lacking(device(**whole), wanted) == ()  # type: ignore[arg-type]


def test_tensorrt_is_never_brought_and_another_runtime_is() -> None:
    assert not any(text.startswith("tensorrt") for text in required(("tensorrt",), brought=False))
    assert "tensorrt-rtx>=1.7" in required(("tensorrt-rtx",), brought=True)


@pytest.mark.slow
def test_wheels_are_those_of_the_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pip gets them with the user's settings, here from a directory; the next time they are there."""
    for tag in ("cp310-cp310-manylinux2014_aarch64", "cp310-cp310-manylinux2014_x86_64", "cp312-cp312-linux_aarch64"):
        _wheel(tmp_path, "numpy", "2.0", tag)
    _wheel(tmp_path, "rich", "14.0", "py3-none-any")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    found = downloaded(device(), ("numpy>=1.26", "rich>=13.7"), tmp_path / "cache", "ssh://board")
    assert [wheel.name for wheel in found] == [
        "numpy-2.0-cp310-cp310-manylinux2014_aarch64.whl",
        "rich-14.0-py3-none-any.whl",
    ]
    for wheel in tmp_path.glob("*.whl"):
        wheel.unlink()
    assert downloaded(device(), ("numpy>=1.26", "rich>=13.7"), tmp_path / "cache", "ssh://board") == found
    with pytest.raises(UnservedError) as error:
        downloaded(device((3, 11)), ("numpy>=1.26",), tmp_path / "cache", "ssh://board")
    assert str(error.value).startswith(
        "ssh://board lacks numpy>=1.26, and wheels for its Python 3.11 on aarch64 cannot"
    )
    assert len([*(tmp_path / "cache").iterdir()]) == 1, "nothing half-made stays"


def test_what_is_here_is_wanted_first() -> None:
    assert pinned(["numpy>=1.26", "no-such-package>=1"]) == (
        f"numpy=={metadata.version('numpy')}",
        "no-such-package>=1",
    )


def _wheel(directory: Path, name: str, version: str, tag: str) -> None:
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(directory / f"{name}-{version}-{tag}.whl", "w") as wheel:
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nTag: {tag}\n")
        wheel.writestr(f"{info}/RECORD", "")


def test_our_own_wheel_imports_without_what_it_was_made_of(tmp_path: Path) -> None:
    wheel = own_wheel(tmp_path)
    before = wheel.read_bytes()
    assert own_wheel(tmp_path).read_bytes() == before
    with zipfile.ZipFile(wheel) as files:
        assert not [name for name in files.namelist() if "/tests/" in name or "/.venv/" in name]
        files.extractall(tmp_path / "site")
    code = (
        "import edgepress.exporter.bundle.verify, edgepress\n"
        "from edgepress.profiles.device.target import load_target\n"
        "from edgepress.backends.places import place_names\n"
        "print(edgepress.__path__, load_target('rpi5').arch, 'ssh' in place_names())"
    )
    words = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r})\n{code}"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, env={"PATH": ""})
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("aarch64 True\n") and str(tmp_path) in done.stdout


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("numpy/core.py", "numpy/core.py"),
        ("x-1.data/purelib/x/y.py", "x/y.py"),
        ("x-1.data/platlib/x.so", "x.so"),
        ("x-1.data/scripts/x", ""),
        ("x-1.dist-info/METADATA", "x-1.dist-info/METADATA"),
    ],
)
def test_a_wheel_is_unpacked_where_python_finds_it(name: str, where: str) -> None:
    assert library_path(name) == where


def _base() -> list[str]:
    return [text for text in metadata.requires("edgepress") or () if "extra" not in text]
