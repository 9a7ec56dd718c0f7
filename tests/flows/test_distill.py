"""`export --distill` as its user meets it: a bundle of the student, a report that tells, and one message where not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ._flow import EDGEPRESS, Cli, contents, read

CLASSES = """
import numpy as np
import torch
from torch import nn
from torch.nn import functional


def network(width):
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 3))


def data(seed, count):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    centres = np.random.default_rng(99).normal(size=(3, 1, 8, 8))
    return (centres[labels] + 2 * rng.normal(size=(count, 1, 8, 8))).astype(np.float32), labels


def model():
    net = network(32)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    with torch.enable_grad():
        for epoch in range(3):
            for feed, labels in training(epoch):
                optimizer.zero_grad()
                loss(net(**feed), labels).backward()
                optimizer.step()
    return net


def student():
    return network(8)


def inputs():
    return {"input": torch.from_numpy(data(0, 4)[0])}


def dynamic():
    return {"input": {0: "batch"}}


def calibration():
    for index in range(4):
        yield {"input": data(index, 16)[0]}


def training(epoch=0):
    images, labels = (torch.from_numpy(array) for array in data(5, 128))
    for rows in torch.from_numpy(np.random.default_rng(epoch).permutation(128)).split(32):
        yield {"input": images[rows]}, labels[rows]


def loss(outputs, targets):
    return functional.cross_entropy(outputs, targets)


def evaluate(predict):
    images, labels = data(6, 200)
    return float((next(iter(predict({"input": images}).values())).argmax(1) == labels).mean())
"""
DISTILL = ("-t", "cpu", "--distill", "--epochs", "3", "--learning-rate", "0.02", "--no-measure")


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    path = tmp_path / "classes.py"
    path.write_text(CLASSES)
    return path


def test_the_student_is_shipped_and_the_report_tells_how_it_was_taught(cli: Cli, classes: Path) -> None:
    ran = cli("export", classes, *DISTILL, "--temperature", "2", "--features", "2")
    assert ran.code == 0, ran.err
    bundle = classes.parent / "dist" / "classes-cpu"
    found = read(bundle)
    run = found["training"]
    assert run["purpose"] == "distillation"
    assert run["data"] == "training()"
    assert run["objective"][0] == "0.9 x soft labels at temperature 2 on `output`"
    assert run["objective"][2] == "1 x features of `2`"
    assert (run["parameters"], run["teacher_parameters"]) == (64 * 8 + 8 + 27, 64 * 32 + 32 + 99)
    assert len(run["history"]) == 3
    assert run["history"][run["best"] - 1]["metric"] > run["before"] + 0.3
    assert found["task"]["before"] > run["history"][run["best"] - 1]["metric"] - 0.1, "it is the model's, as given"
    assert found["task"]["after"] == pytest.approx(run["history"][run["best"] - 1]["metric"], abs=0.02)
    assert found["sizes"]["weights_fp32"] < 4 * 64 * 32
    report = (bundle / "report.md").read_text()
    assert "## Training" in report
    assert "task metric, before and after distillation" in report
    assert read(bundle, "manifest.json")["recipe"]["training"]["temperature"] == 2
    steps = [(step["what"], step["by"].partition(" ")[0]) for step in read(bundle, "manifest.json")["lineage"]]
    runs = [("calibrate", "onnxruntime"), ("int8", "edgepress"), ("compile", "openvino")]
    assert steps == [("train", "torch"), ("capture", "torch"), *runs]
    assert cli("verify", bundle).code == 0


def test_a_checkpoint_is_not_trained_again(cli: Cli, classes: Path) -> None:
    words = ("export", classes, *DISTILL, "--checkpoint", "runs", "--force")
    assert cli(*words).code == 0
    one = read(classes.parent / "dist" / "classes-cpu")["training"]
    assert cli(*words).code == 0
    assert read(classes.parent / "dist" / "classes-cpu")["training"] == one


@pytest.mark.slow
def test_two_processes_train_and_the_first_exports(classes: Path, environment: dict[str, str]) -> None:
    words = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", "--no-python", str(EDGEPRESS)]
    here = {**environment, "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    launched = subprocess.run(
        [sys.executable, *words, "export", classes.name, *DISTILL],
        cwd=classes.parent,
        env=here,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert launched.returncode == 0, launched.stderr
    assert launched.stdout.count("is ready") == 1
    assert [p.name for p in (classes.parent / "dist").iterdir()] == ["classes-cpu"]
    assert (
        json.loads((classes.parent / "dist" / "classes-cpu" / "report.json").read_text())["training"]["processes"] == 2
    )


@pytest.mark.parametrize(
    ("old", "new", "options", "says"),
    [
        ("def student():", "def pupil():", (), "classes has no student() to train"),
        ("return network(8)", "return 8", (), "student() gives a int; expected a torch.nn.Module"),
        (
            "return network(8)",
            "return nn.Sequential(nn.Flatten(), nn.Linear(32, 3))",
            (),
            "student(): the model's forward",
        ),
        (
            "return network(8)",
            "return nn.Sequential(nn.Flatten(), nn.Linear(64, 4))",
            (),
            "student() gives output (4, 4) for the example inputs, model() gives output (4, 3)",
        ),
        ("return functional.cross_entropy(outputs, targets)", "return outputs.sum() * np.nan", (), "not trained"),
        (
            "images[rows]}, labels",
            "images[rows, :, 1:]}, labels",
            (),
            "has shape (32, 1, 7, 8), expected (batch, 1, 8, 8)",
        ),
        ("x", "x", ("--epochs", "-1"), "epochs is -1"),
        ("x", "x", ("--features", "linear"), "no module 'linear'"),
        ("x", "x", ("--temperature", "0"), "temperature is 0.0; expected a number above 0"),
    ],
)
def test_one_clear_message_and_nothing_left(
    cli: Cli, classes: Path, old: str, new: str, options: tuple[str, ...], says: str
) -> None:
    # The teacher of this file must not need the labels: it is what is not at fault.
    text = CLASSES.replace(old, new) if old != "x" else CLASSES
    if old != "x":
        text = text.replace("for epoch in range(3)", "for epoch in range(0)")
    classes.write_text(text)
    before = contents(classes.parent)
    ran = cli("export", classes, *DISTILL, *options)
    ran.failed(1, says)
    after = {name: data for name, data in contents(classes.parent).items() if "__pycache__" not in name}
    assert after == {name: data for name, data in before.items() if "__pycache__" not in name}


def test_a_recipe_file_says_how_to_train(cli: Cli, classes: Path) -> None:
    recipe = classes.with_name("recipe.toml")
    recipe.write_text("distill = true\nmeasure = false\n[training]\nepochs = 1\npatience = 2\n")
    ran = cli("export", classes, "-t", "cpu", "--recipe", recipe, "--epochs", "2")
    assert ran.code == 0, ran.err
    assert read(classes.parent / "dist" / "classes-cpu")["training"]["planned"] == 2
    recipe.write_text("[training]\nepoch = 1\n")
    cli("export", classes, "-t", "cpu", "--recipe", recipe).failed(1, "unknown key `training.epoch`", "epochs")
    recipe.write_text("[training]\nepochs = -3\n")
    cli("export", classes, "-t", "cpu", "--recipe", recipe).failed(1, "recipe.toml", "epochs is -3")
