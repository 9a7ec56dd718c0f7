from __future__ import annotations

import pytest

from edgepress.profiles.reading.near import did_you_mean, near_names

TARGETS = ("cpu", "cuda", "jetson", "jetson-nano", "jetson-orin-nano-8gb", "jetson-orin-nx-16gb", "rpi4", "rpi5")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("CPU", ["cpu"]),
        ("jetsn", ["jetson", "jetson-nano"]),
        ("jetson-orin", ["jetson-orin-nano-8gb", "jetson-orin-nx-16gb"]),
        ("jetson_nano", ["jetson-nano"]),
        ("orin", ["jetson-orin-nano-8gb", "jetson-orin-nx-16gb"]),  # and not rpi5, which is spelt more alike
        ("rpi", ["rpi4", "rpi5"]),
        ("zzz", []),
        ("", []),
    ],
)
def test_the_name_that_was_meant_comes_first(typed: str, meant: list[str]) -> None:
    assert near_names(typed, TARGETS)[: len(meant) or None] == meant


def test_capitals_alone_leave_no_doubt() -> None:
    assert near_names("CPU", TARGETS) == ["cpu"]
    assert near_names("kb", ("B", "kB", "KB", "MB")) == ["kB", "KB"]


def test_the_question_or_all_that_there_are() -> None:
    assert did_you_mean("ofline", ("offline", "cold-start")) == "Did you mean offline?"
    assert did_you_mean("zzz", ("a", "b")) == "Known: a, b."
    assert did_you_mean("zzz", ("a", "b"), otherwise="Its modules are {}.") == "Its modules are a, b."
    assert did_you_mean("zzz", ()) == "Known: none."
