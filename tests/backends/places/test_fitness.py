"""Whether a machine does for a target is said of what it tells of itself, before anything is copied there."""

from __future__ import annotations

from typing import Any

import pytest

from edgepress.backends.places.ssh.place import Ssh
from edgepress.errors import UnservedError
from edgepress.profiles.device.target import load_target

# An Orin Nano with JetPack 6.2, as `helper.Device.about` tells of it.
ORIN: dict[str, Any] = {
    "arch": "aarch64",
    "system": "Linux",
    "python": [3, 10, 12],
    "implementation": "cpython",
    "libc": ["glibc", "2.35"],
    "free": 20 << 30,
    "memory": 6 << 30,
    "jetpack": "R36 (release), REVISION: 4.3",
    "power_mode": "NV Power Mode: MAXN_SUPER 2",
    "packages": {"tensorrt": ["10.3.0", []], "numpy": ["1.26.4", []]},
    "markers": {},
}


def of(**told: Any) -> Ssh:
    place = Ssh.at("orin")
    place.host.__dict__["about"] = {**ORIN, **told}
    return place


def test_what_fits_is_not_refused() -> None:
    assert of()._unfit(load_target("jetson@jetpack-6.2")) == ""
    assert of(packages={})._unfit(load_target("rpi5")) == "", "its runtime can be brought"
    for target, python, tensorrt in (
        ("jetson-nano", [3, 6, 9], "8.2.1.8"),
        ("jetson-agx-xavier", [3, 8, 10], "8.5.2.2"),
    ):
        told = of(python=python, packages={"tensorrt": [tensorrt, []]})
        assert told._unfit(load_target(target)) == "", "a program of its own runs there"


@pytest.mark.parametrize(
    ("target", "told", "why"),
    [
        ("server-cpu", {}, "it is aarch64, server-cpu is x86_64"),
        ("rpi5", {"system": "Darwin"}, "its system is Darwin, not Linux"),
        ("rpi5", {"python": [3, 8, 10]}, "its Python is cpython 3.8, and edgepress needs CPython 3.10 or later"),
        (
            "jetson-agx-xavier",
            {"python": [3, 5, 2]},
            "its Python is cpython 3.5, and edgepress needs CPython 3.6 or later",
        ),
        ("rpi5", {"implementation": "pypy"}, "its Python is pypy 3.10, and edgepress needs CPython"),
        (
            "jetson@jetpack-6.2",
            {"packages": {}},
            "its Python has no tensorrt, which comes with the device's own",
        ),
        (
            "jetson@jetpack-6.2",
            {"packages": {"TensorRT": ["8.6.1", []]}},
            "it has tensorrt 8.6.1 (R36 (release), REVISION: 4.3), and jetson-orin-nano-8gb is exported for 10.3",
        ),
    ],
)
def test_what_does_not_fit_is_said(target: str, told: dict[str, Any], why: str) -> None:
    place, aim = of(**told), load_target(target)
    assert place.why_not(aim).startswith(why)
    with pytest.raises(UnservedError, match="cannot run on ssh://orin: "):
        place.need(aim)


def test_what_is_larger_than_the_free_memory_is_not_copied(tmp_path: Any) -> None:
    (tmp_path / "model.bin").write_bytes(bytes(2000))
    with pytest.raises(UnservedError, match=r"model\.bin is 2\.0 kB, and ssh://orin has 1\.0 kB of memory free"):
        of(memory=1000).host._need_memory("model.bin", tmp_path)
