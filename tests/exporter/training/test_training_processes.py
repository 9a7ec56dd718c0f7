"""A run that is really killed, and two processes that really train together."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from ._toy import points

HERE = Path(__file__).parent

# What each process runs: it trains the toy's student, and writes what it saw and what came of it.
PROGRAM = """
import json, os, sys, time
from pathlib import Path

import torch
from safetensors.torch import save_file

sys.path.insert(0, {here!r})
from _toy import loss, net, toy, training
from edgepress.exporter.training import loop
from edgepress.exporter.recipe import TrainingSettings

loop.CHECKPOINT_SECONDS = 0.0
pause, out = float(sys.argv[1]), Path(sys.argv[2])
rank = os.environ.get("RANK", "0")
seen = []


def watched(outputs, targets):
    seen.append(targets.tolist())
    time.sleep(pause)
    return loss(outputs, targets)


teacher = net(64, seed=7)
settings = TrainingSettings(epochs=3, learning_rate=0.02)
outcome = loop.train(net(), teacher, toy(loss=watched), settings, checkpoint=out / "checkpoint")
save_file(outcome.module.state_dict(), out / f"weights-{{rank}}.safetensors")
run = outcome.run
found = dict(
    processes=run.processes, starts=run.starts, best=run.best, losses=[e.loss for e in run.history],
    metrics=[e.metric for e in run.history], seen=seen,
)
(out / f"found-{{rank}}.json").write_text(json.dumps(found))
"""


def program(directory: Path) -> Path:
    path = directory / "program.py"
    path.write_text(PROGRAM.format(here=str(HERE)))
    return path


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


def found(directory: Path, rank: int = 0) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((directory / f"found-{rank}.json").read_text())
    return data


@pytest.mark.slow
def test_a_run_killed_in_the_middle_of_an_epoch_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    script = program(tmp_path)
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    words = [sys.executable, str(script)]
    subprocess.run([*words, "0", str(tmp_path / "whole")], env=environment(), check=True, timeout=120)

    killed = subprocess.Popen([*words, "0.3", str(tmp_path / "killed")], env=environment())
    checkpoint = tmp_path / "killed" / "checkpoint"
    wait_for(lambda: any(p.name >= "state-00000008" for p in checkpoint.glob("*/state-*")), killed)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait(30) == -signal.SIGKILL
    state = json.loads(max(checkpoint.glob("*/state-*")).joinpath("position.json").read_text())
    assert (state["epoch"], state["step"] > 0) == (1, True), "it was not killed within the second epoch"

    subprocess.run([*words, "0", str(tmp_path / "killed")], env=environment(), check=True, timeout=120)
    whole, again = found(tmp_path / "whole"), found(tmp_path / "killed")
    assert again["starts"] == 2
    assert again["losses"] == whole["losses"]
    assert len(again["seen"]) == len(whole["seen"]) - 6 - state["step"]
    one, two = (load_file(tmp_path / name / "weights-0.safetensors") for name in ("whole", "killed"))
    assert all((one[name] == two[name]).all() for name in one)


LAUNCHERS = {
    "torchrun": "torch.distributed.run --standalone --nproc-per-node 2",
    # Without --multi_gpu it would start one process; where there is no GPU, these two talk through gloo.
    "accelerate": "accelerate.commands.launch --multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no "
    "--dynamo_backend no --main_process_port 0",
}


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["torchrun", "accelerate"])
def test_two_processes_share_the_data_and_end_with_the_same_weights(tmp_path: Path, launcher: str) -> None:
    words = ["-m", *LAUNCHERS[launcher].split(), str(program(tmp_path)), "0", str(tmp_path)]
    launched = subprocess.run([sys.executable, *words], env=environment(), capture_output=True, text=True, timeout=180)
    assert launched.returncode == 0, launched.stderr
    one, two = found(tmp_path, 0), found(tmp_path, 1)
    assert one["processes"] == two["processes"] == 2
    assert len(one["seen"]) == len(two["seen"]) == 3 * 3, "6 batches an epoch, 3 for each process"
    assert all(a != b for a, b in zip(one["seen"], two["seen"], strict=True))
    assert {key: one[key] for key in ("losses", "metrics", "best")} == {
        key: two[key] for key in ("losses", "metrics", "best")
    }
    assert one["losses"][-1] < one["losses"][0]
    labels = [sorted(label for part in (one, two) for batch in part["seen"][:3] for label in batch)]
    assert labels == [sorted(points(1)[1].tolist())], "together they see every sample once in an epoch"
    first, second = (load_file(tmp_path / f"weights-{rank}.safetensors") for rank in (0, 1))
    assert all((first[name] == second[name]).all() for name in first)
    assert len(list((tmp_path / "checkpoint").glob("*/finished"))) == 1


def wait_for(reached: Any, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 120
    while not reached():
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < end
        time.sleep(0.02)
