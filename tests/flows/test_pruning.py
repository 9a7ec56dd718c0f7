"""Pruning and 2:4 sparsity through the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from ._flow import Cli, read

NET = """
import numpy as np
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(16, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1)

    def forward(self, x):
        return torch.relu(x + self.two(torch.relu(self.one(x))))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.first, self.second = nn.Conv2d(1, 16, 3, padding=1), Block(), Block()
        self.head = nn.Linear(16, 4)

    def forward(self, image):
        return self.head(self.second(self.first(torch.relu(self.stem(image)))).mean((2, 3)))


def model():
    torch.manual_seed(0)
    return Net()


def inputs():
    return {"image": batch(0)}


def dynamic():
    return {"image": {0: "batch"}}


def batch(seed):
    return torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


def calibration():
    for seed in range(4):
        yield {"image": batch(seed).numpy()}


def evaluate(predict):
    right = 0
    with torch.no_grad():
        net = model().eval()
        for seed in range(10, 14):
            given = next(iter(predict({"image": batch(seed).numpy()}).values()))
            right += int((given.argmax(1) == net(batch(seed)).argmax(1).numpy()).sum())
    return right / 16


def training(epoch=0):
    with torch.no_grad():
        net = model().eval()
        batches = [(batch(seed), net(batch(seed)).argmax(1)) for seed in range(20, 28)]
    return [({"image": images}, labels) for images, labels in batches]


def loss(outputs, targets):
    return nn.functional.cross_entropy(outputs, targets)
"""


@pytest.fixture
def net(tmp_path: Path) -> Path:
    path = tmp_path / "net.py"
    path.write_text(NET)
    return path


def test_a_pruned_model_is_exported_with_its_axis_free(cli: Cli, net: Path, tmp_path: Path) -> None:
    ran = cli("export", net, "-t", "server-cpu", "--prune", "0.5", "--epochs", "2", "--no-measure")
    assert ran.code == 0, ran.err
    bundle = tmp_path / "dist" / "net-server-cpu"
    report = read(bundle)
    pruning = report["pruning"]
    removed = 1 - pruning["macs_after"] / pruning["macs_before"]
    assert 0.5 <= removed < 0.53 and pruning["importance"] == "taylor"
    assert pruning["ranked_by"].startswith("MACs saved") and "--no-measure" in pruning["ranked_by"]
    assert pruning["kept"]["head"].startswith("its channels are the model's output")
    # The metric counts agreement with the model as given, so that one itself has all of it.
    assert report["task"]["before"] == 1.0 and report["training"]["purpose"] == "recovery"
    lineage = read(bundle, "manifest.json")["lineage"]
    # No epoch was better than none, so that what was trained is not in what is shipped.
    assert report["training"]["best"] == 0
    assert [step["what"] for step in lineage] == ["prune", "capture", "calibrate", "int8", "compile"]
    assert read(bundle, "manifest.json")["model"]["source_digest"] == lineage[0]["after"] != lineage[0]["before"]
    session = onnxruntime.InferenceSession(bundle / "model.onnx")
    for size in (1, 3):
        (output,) = session.run(None, {"image": np.zeros((size, 1, 8, 8), np.float32)})
        assert output.shape == (size, 4)
    text = (bundle / "report.md").read_text()
    assert "MACs, as given and pruned" in text and "## Pruning" in text


@pytest.mark.slow
def test_groups_are_ranked_by_measured_time_where_the_engine_runs(cli: Cli, net: Path, tmp_path: Path) -> None:
    ran = cli("export", net, "-t", "cpu", "--precision", "fp32", "--prune", "0.3", "--epochs", "0")
    assert ran.code == 0, ran.err
    pruning = read(tmp_path / "dist" / "net-cpu")["pruning"]
    assert "fp32 latency measured on openvino" in pruning["ranked_by"]
    assert all(group["saved"] is not None for group in pruning["groups"])


@pytest.mark.parametrize(
    "words",
    [("server-cpu", "--no-measure"), pytest.param(("cpu", "--precision", "int8"), marks=pytest.mark.slow)],
)
def test_a_bundle_s_recipe_repeats_the_pruned_model_exactly(
    words: tuple[str, ...], cli: Cli, net: Path, tmp_path: Path
) -> None:
    options = ("--prune", "0.3", "--epochs", "1", "--checkpoint", "kept", "-o", "one")
    ran = cli("export", net, "-t", *words, *options)
    assert ran.code == 0, ran.err
    first = tmp_path / "one" / f"net-{words[0]}"
    again = cli("export", net, "-t", words[0], "--recipe", first / "recipe.toml", "-o", "two")
    assert again.code == 0, again.err
    second = tmp_path / "two" / first.name
    one, two = (read(path, "manifest.json") for path in (first, second))
    chosen, given = (read(path)["pruning"] for path in (first, second))
    assert "model.onnx" in one["files"] and any(name.startswith("engine/") for name in one["files"])
    assert one["files"] == two["files"] and one["recipe"] == two["recipe"]
    assert one["recipe"]["pruned"] == {group["name"]: group["after"] for group in chosen["groups"]} != {}
    assert chosen["ranked_by"] and given["ranked_by"] is None
    assert {group["loss"] for group in given["groups"]} == {None}
    assert chosen["macs_after"] == given["macs_after"] and chosen["kept"] == given["kept"]
    assert "The widths are those of the recipe" in (second / "report.md").read_text()


@pytest.mark.slow
def test_the_recipe_of_a_search_repeats_the_pruned_model_exactly(cli: Cli, net: Path, tmp_path: Path) -> None:
    fixed = 'precision = "int8"\nranges = "min-max"\nprune = 0.3\nmeasure = false\n[training]\nepochs = 1\n'
    (tmp_path / "fixed.toml").write_text(fixed)
    words = ("--recipe", "fixed.toml", "--trials", "1", "--max-size", "1MB", "--max-drop", "90%")
    ran = cli("tune", net, "-t", "server-cpu", *words)
    assert ran.code == 0, ran.err
    recipe = tmp_path / "dist/net-server-cpu.tune/recipe.toml"
    assert "[pruned]" in recipe.read_text()
    again = cli("export", net, "-t", "server-cpu", "--recipe", recipe, "-o", "again")
    assert again.code == 0, again.err
    one, two = (read(tmp_path / name / "net-server-cpu", "manifest.json") for name in ("dist", "again"))
    assert one["files"] == two["files"] and one["recipe"] == two["recipe"]


@pytest.mark.slow
def test_widths_decide_and_a_share_that_is_typed_chooses_anew(cli: Cli, net: Path, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('prune = 0.2\n[pruned]\n"second.one" = 8\nfirst = 0\n[training]\nepochs = 0\n')
    words = ("-t", "server-cpu", "--precision", "fp32", "--no-measure", "--recipe", "r.toml", "--force")
    ran = cli("export", net, *words)
    assert ran.code == 0, ran.err
    bundle = tmp_path / "dist" / "net-server-cpu"
    report = read(bundle)["pruning"]
    found = {group["name"]: (group["before"], group["after"]) for group in report["groups"]}
    assert found == {"second.one": (16, 8), "first": (1, 0)}
    ran = cli("export", net, *words, "--prune", "0.2")
    assert ran.code == 0, ran.err
    report, recipe = read(bundle)["pruning"], read(bundle, "manifest.json")["recipe"]
    chosen = {group["name"]: group["after"] for group in report["groups"]}
    assert report["ranked_by"].startswith("MACs saved")
    assert recipe["pruned"] == chosen and chosen not in ({}, {"second.one": 8, "first": 0})


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('"frist.one" = 8', ("frist.one, which is no group of the model", "Did you mean first.one?", "--prune")),
        ('"head" = 2', ("head, which cannot be pruned: its channels are the model's output",)),
        ('"first.one" = 16', ("leaves 16 of first.one, which is 16 channels", "less, and a positive multiple of 8")),
        ('"first.one" = 0', ("leaves 0 of first.one", "positive multiple of 8")),
        ('"first.one" = 12', ("leaves 12 of first.one", "positive multiple of 8")),
        ('"first" = 1', ("leaves 1 of first, which is a block", "expected 0")),
        ('"first.one" = 8', ("remove 2", "of the MACs of net, and `prune` asks for 50.0%", "delete the table")),
    ],
)
def test_widths_that_do_not_fit_are_refused(
    table: str, words: tuple[str, ...], cli: Cli, net: Path, tmp_path: Path
) -> None:
    (tmp_path / "r.toml").write_text(f"prune = 0.5\nmeasure = false\n[pruned]\n{table}\n")
    cli("export", net, "-t", "server-cpu", "--precision", "fp32", "--recipe", "r.toml").failed(1, *words)
    assert not (tmp_path / "dist").exists() or not list((tmp_path / "dist").iterdir())


def test_what_is_kept_stays(cli: Cli, net: Path, tmp_path: Path) -> None:
    words = ("--keep", "first", "--keep", "second.*", "--prune", "0.05", "--epochs", "0", "--no-measure")
    ran = cli("export", net, "-t", "server-cpu", "--precision", "fp32", *words)
    ran.failed(1, "Nothing in net can be pruned", "--keep first", "--keep second.*")
    ran = cli("export", net, "-t", "server-cpu", "--precision", "fp32", *words[:2], *words[4:])
    assert ran.code == 0, ran.err
    pruning = read(tmp_path / "dist" / "net-server-cpu")["pruning"]
    assert {group["name"] for group in pruning["groups"]} <= {"second.one", "second"}
    assert pruning["kept"]["first.one"] == "--keep first" and pruning["kept"]["first"] == "--keep first"


def test_sparse_weights_reach_the_graph_for_a_target_that_runs_them(cli: Cli, net: Path, tmp_path: Path) -> None:
    ran = cli("export", net, "-t", "jetson", "--sparse", "--epochs", "1", "--min-sqnr", "0")
    assert ran.code == 0, ran.err
    bundle = tmp_path / "dist" / "net-jetson-orin-nano-8gb"
    found = read(bundle)["sparsity"]
    assert (found["sparse"], found["total"]) == (5, 6)
    assert "--sparsity=enable" in (bundle / "engine" / "build.sh").read_text()


@pytest.mark.parametrize("share", ["0", "1", "1.5", "-0.2", "half"])
def test_a_share_outside_of_0_to_1_is_a_usage_error(share: str, cli: Cli, net: Path) -> None:
    ran = cli("export", net, "-t", "cpu", "--prune", share)
    assert ran.code == 2 and "--prune" in ran.err


def test_nan_is_no_share(cli: Cli, net: Path) -> None:
    assert cli("export", net, "-t", "cpu", "--prune", "nan").code in (1, 2)


def test_what_cannot_be_removed_is_said(cli: Cli, net: Path) -> None:
    ran = cli("export", net, "-t", "server-cpu", "--prune", "0.999", "--no-measure")
    ran.failed(1, "of the MACs of net can be removed at most, 100% were asked", "head: its channels")


def test_a_model_in_which_nothing_can_be_pruned(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "net.py"
    path.write_text(NET.replace("16, 16", "7, 7").replace("1, 16", "1, 7").replace("16, 4", "7, 4"))
    words = ("--prune", "0.2", "--keep", "first", "--keep", "second", "--no-measure")
    cli("export", path, "-t", "server-cpu", *words).failed(1, "Nothing in net can be pruned", "multiple of 8")


def test_sources_without_a_torch_module_are_refused(cli: Cli, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.Linear(32, 4)).eval()
    program = torch.export.export(module, (torch.randn(2, 8),))
    torch.export.save(program, tmp_path / "net.pt2")
    cli("export", "net.pt2", "-t", "cpu", "--trust-source", "--prune", "0.4").failed(1, "a .pt2 program")
    torch.onnx.export(module, (torch.randn(2, 8),), str(tmp_path / "net.onnx"), dynamo=False)
    cli("export", "net.onnx", "-t", "cpu", "--prune", "0.4").failed(1, "an ONNX file", "as a Python file")


def test_a_pattern_that_matches_nothing_names_the_near_ones(cli: Cli, net: Path) -> None:
    cli("export", net, "-t", "cpu", "--prune", "0.4", "--keep", "frist").failed(1, "--keep frist", "Did you mean first")


def test_taylor_needs_training_data(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "net.py"
    path.write_text(NET[: NET.index("def training")])
    words = ("--prune", "0.4", "--importance", "taylor")
    cli("export", path, "-t", "cpu", *words).failed(1, "training() and loss()", "magnitude")


def test_sparse_names_the_targets_that_have_it(cli: Cli, net: Path) -> None:
    cli("export", net, "-t", "cpu", "--sparse").failed(1, "Target cpu does not run 2:4", "cuda", "jetson-orin-nano-8gb")
