"""Several targets in one command: what can be made is made, and what cannot is said at the end, once."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch

import edgepress
from edgepress.errors import BudgetError, InputError, UnservedError, VerificationError, worst_code

from ._flow import EDGEPRESS, SMALL, Cli

JETSON = edgepress.load_target("jetson@jetpack-5.1").name
FAST = ("--no-measure", "-o", "out")


def made(output: Path) -> list[str]:
    return sorted(path.name for path in output.iterdir())


def test_a_target_that_fails_does_not_end_the_others(cli: Cli, small: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "small-cpu").mkdir(parents=True)
    (tmp_path / "out" / "small-cpu" / "mine").write_text("")
    ran = cli("export", small, "-t", "cpu,server-cpu,mobile", *FAST, "--precision", "fp32", "--force")
    ran.failed(1, "1 of 3 targets failed", "cpu: ", "is not a bundle")
    assert made(tmp_path / "out") == ["small-android-arm64", "small-cpu", "small-server-cpu"]
    summary = [line.split(", ")[0] for line in ran.out.splitlines()[-3:]]
    assert summary == ["cpu: failed", "server-cpu: made", "android-arm64: made"]


def test_a_fault_of_the_model_is_said_once(cli: Cli, small: Path, tmp_path: Path) -> None:
    small.write_text(small.read_text().replace("nn.Linear(4 * 6 * 6, 3)", "nn.Linear(7, 3)"))
    ran = cli("export", small, "-t", "cpu,server-cpu,mobile", *FAST)
    ran.failed(1)
    assert len(ran.err.splitlines()) < 8, ran.err
    small.write_text("def model():\n    raise ValueError('gone')\n\n\ndef inputs():\n    return {}\n")
    ran = cli("export", small, "-t", "cpu,server-cpu", *FAST)
    ran.failed(1, "gone")
    assert "targets failed" not in ran.err


def test_machines_are_told_what_was_made_and_what_was_not(cli: Cli, small: Path, tmp_path: Path) -> None:
    words = ("export", small, "-t", "cpu,server-cpu", *FAST, "--precision", "int8", "--min-sqnr", "200")
    ran = cli(*words, "--json", "--junit", "junit.xml")
    ran.failed(4, "2 of 2 targets failed")
    told = json.loads(ran.out)
    assert told["bundles"] == []
    assert [one["target"] for one in told["failed"]] == ["cpu", "server-cpu"]
    assert {one["exit_code"] for one in told["failed"]} == {4}
    suites = ElementTree.parse(tmp_path / "junit.xml").getroot()
    assert {suite.get("name"): suite.get("failures") for suite in suites} == {"cpu": "1", "server-cpu": "1"}


def test_python_is_told_what_was_made_and_what_was_not(tmp_path: Path) -> None:
    (tmp_path / "net-cpu").mkdir()
    (tmp_path / "net-cpu" / "mine").write_text("")
    given: dict[str, Any] = {
        "inputs": {"input": torch.rand(2, 4)},
        "name": "net",
        "output": tmp_path,
        "measure": False,
        "force": True,
    }
    with pytest.raises(edgepress.TargetsError, match=r"1 of 2 targets failed\.\ncpu: ") as raised:
        edgepress.export_all(torch.nn.Linear(4, 3), targets=("cpu", "server-cpu"), **given)
    assert list(raised.value.errors) == ["cpu"]
    assert edgepress.load_bundle(raised.value.made["server-cpu"]).manifest.target.name == "server-cpu"
    with pytest.raises(edgepress.InputError, match="is not a bundle"):
        edgepress.export(torch.nn.Linear(4, 3), target="cpu", **given)


def test_a_bug_at_one_target_keeps_its_traceback_and_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgepress.backends.openvino import OpenVino

    def broken(*arguments: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(OpenVino, "_compile", broken)
    (tmp_path / "linear-android-arm64").mkdir()
    (tmp_path / "linear-android-arm64" / "mine").write_text("")
    given: dict[str, Any] = {"inputs": {"input": torch.rand(2, 4)}, "output": tmp_path, "measure": False}
    with pytest.raises(ZeroDivisionError, match="a bug") as raised:
        edgepress.export_all(torch.nn.Linear(4, 3), targets=("cpu", "server-cpu", "mobile"), **given)
    assert made(tmp_path) == ["linear-android-arm64", "linear-server-cpu"]
    cause = raised.value.__cause__
    assert isinstance(cause, edgepress.TargetsError)
    assert list(cause.errors) == ["android-arm64"]


@pytest.mark.slow
def test_an_interrupt_ends_all_targets_and_keeps_what_was_made(tmp_path: Path, environment: dict[str, str]) -> None:
    # The second target has another opset, so that its capture takes a while (of many layers), and is interrupted there.
    many = "*(nn.Conv2d(4, 4, 3, padding=1) for _ in range(40)), nn.Flatten()"
    (tmp_path / "net.py").write_text(SMALL.replace("nn.Flatten()", many))
    process = subprocess.Popen(
        [EDGEPRESS, "export", "net.py", "-t", "cpu,jetson@jetpack-5.1", "-o", "out", "--no-measure"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (tmp_path / "out" / "net-cpu").exists():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    time.sleep(0.5)  # until the command knows it too
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.strip() == "error: Interrupted; nothing half-written is left behind."
    assert made(tmp_path / "out") == ["net-cpu"]
    assert [line.partition(", ")[0] for line in out.splitlines()[-2:]] == ["cpu: made", f"{JETSON}: not tried"]


def test_the_worst_code_is_that_of_something_wrong_and_the_least_that_of_a_budget() -> None:
    errors = [BudgetError("b"), UnservedError("u"), InputError("i"), VerificationError("v")]
    assert [worst_code(errors[:count]) for count in (1, 2, 3, 4)] == [3, 5, 1, 4]


def test_sparse_weights_that_one_target_has_no_use_for_end_its_own_export_alone(
    cli: Cli, small: Path, tmp_path: Path
) -> None:
    small.write_text(small.read_text().replace("nn.Conv2d(1, 4, 3)", "nn.Conv2d(1, 16, 3)").replace("4 * 6 * 6", "576"))
    ran = cli("export", small, "-t", f"server-cpu,{JETSON}", *FAST, "--precision", "fp16", "--sparse")
    ran.failed(1, "1 of 2 targets failed", "server-cpu: Target server-cpu does not run 2:4 sparse weights any faster.")
    assert made(tmp_path / "out") == [f"small-{JETSON}"]
