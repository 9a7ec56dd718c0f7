"""The same from Python: values in, a bundle out, errors as exceptions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import edgepress
from edgepress.exporter.bundle.seal import load_report
from edgepress.profiles.findings.report import TaskMetric


class Blend(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(8, 16), nn.Linear(8, 16)
        self.head = nn.Linear(16, 4)

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.head(torch.relu(self.left(a) + self.right(b)))
        return scores


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return Blend()


@pytest.fixture
def batches() -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [{name: rng.normal(size=(4, 8)).astype(np.float32) for name in ("a", "b")} for _ in range(8)]


@pytest.fixture
def options(model: nn.Module, batches: list[dict[str, np.ndarray]], tmp_path: Path) -> dict[str, Any]:
    return {
        "model": model,
        "inputs": {"a": torch.randn(2, 8), "b": torch.randn(2, 8)},
        "target": "cpu",
        "dynamic": {"a": {0: "batch"}, "b": {0: "batch"}},
        "calibration": batches,
        "measure": False,
        "output": tmp_path / "out",
    }


def test_a_student_is_distilled(options: dict[str, Any], batches: list[dict[str, np.ndarray]]) -> None:
    class Smaller(Blend):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right, self.head = nn.Linear(8, 4), nn.Linear(8, 4), nn.Linear(4, 4)

    def training(epoch: int) -> Any:
        seen.append(epoch)
        return [({name: torch.from_numpy(a) for name, a in batch.items()}, torch.zeros(4, 4)) for batch in batches]

    seen: list[int] = []
    bundle = edgepress.export(
        **options,
        training=training,
        loss=nn.functional.mse_loss,
        student=Smaller,
        distill=True,
        training_settings=edgepress.TrainingSettings(epochs=2, teacher_weight=0.5),
    )
    run = load_report(bundle.path).training
    assert run is not None
    assert (run.purpose, run.planned, len(run.history)) == ("distillation", 2, 2)
    assert run.objective == ("0.5 x relative squared difference from the teacher's on `output`", "0.5 x loss()")
    assert {0, 1} == set(seen)
    with pytest.raises(edgepress.InputError, match="has no student"):
        edgepress.export(**options, training=training, distill=True, force=True)


def test_a_module_becomes_a_bundle(options: dict[str, Any], batches: list[dict[str, np.ndarray]]) -> None:
    def evaluate(predict: Any) -> float:
        outputs = [predict(batch)["output"] for batch in batches]
        assert all(output.shape == (4, 4) for output in outputs)
        return 1.0

    bundle = edgepress.export(**options, evaluate=evaluate)
    assert isinstance(bundle, edgepress.Bundle)
    assert bundle.path == options["output"] / "blend-cpu"
    assert bundle.manifest.engine.precision == "int8"
    assert load_report(bundle.path).task == TaskMetric(before=1.0, after=1.0, how="the engine")
    assert edgepress.load_bundle(bundle.path) == bundle
    assert edgepress.verify_bundle(bundle.path).parity["output"].cosine > 0.99


def test_inputs_by_position_and_a_name_and_a_target_of_its_own(options: dict[str, Any]) -> None:
    target = edgepress.load_target("server-cpu")
    positional = {**options, "inputs": (torch.randn(2, 8), torch.randn(2, 8)), "target": target}
    bundle = edgepress.export(**positional, name="my blend/2", precision="fp32")
    assert bundle.path.name == "my-blend-2-server-cpu"
    assert [spec.name for spec in bundle.manifest.model.inputs] == ["a", "b"]
    assert bundle.manifest.engine.precision == "fp32"


@pytest.mark.slow
def test_calibration_may_be_a_function_or_a_path(
    options: dict[str, Any], batches: list[dict[str, np.ndarray]], tmp_path: Path
) -> None:
    np.savez(tmp_path / "data.npz", **{n: np.concatenate([b[n] for b in batches]) for n in ("a", "b")})
    made = [
        edgepress.export(**{**options, "calibration": data, "precision": "int8", "output": tmp_path / str(index)})
        for index, data in enumerate([batches, lambda: iter(batches), tmp_path / "data.npz"])
    ]
    assert len({bundle.manifest.files["model.onnx"].sha256 for bundle in made}) == 1


def test_without_data_int8_is_not_made_and_the_report_says_so(options: dict[str, Any]) -> None:
    bundle = edgepress.export(**{**options, "calibration": None})
    assert bundle.manifest.engine.precision == "fp32"
    assert "int8 was not made" in bundle.report.read_text()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"calibration": iter([])}, "expected a list of batches or a function"),
        ({"calibration": (batch for batch in [])}, "generator"),
        ({"calibration": []}, "is empty"),
        ({"inputs": None}, "needs `inputs`"),
        ({"inputs": {"a": torch.zeros(2, 8)}}, "b"),
        ({"inputs": {"a": torch.zeros(2, 7), "b": torch.zeros(2, 8)}}, "forward fails"),
        ({"dynamic": {"a": {0: "batch"}, "c": {0: "batch"}}}, "names c; the inputs are a, b"),
        ({"model": "nowhere.py"}, "go with a module"),
        ({"model": object()}, "expected a torch.nn.Module"),
        ({"target": "cpuu"}, "Unknown target 'cpuu'"),
        ({"statistics": "s.st"}, "`calibration` and `statistics` were both given"),
        ({"max_size": "4MB", "budget": {"size": "4MB"}}, "`max_size` and the budget's `size`"),
        ({"precision": "int4"}, "has no int4"),
        ({"precision": "fp16"}, "has no fp16"),
        ({"axes": {"time": edgepress.AxisRange(smallest=1, usual=2, largest=3)}}, "names time"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_what_is_wrong_is_an_input_error_and_leaves_nothing(
    options: dict[str, Any], changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(edgepress.InputError, match=says):
        edgepress.export(**{**options, **changes})
    assert not options["output"].exists()


def test_an_engine_that_is_too_far_off_is_not_shipped(options: dict[str, Any]) -> None:
    with pytest.raises(edgepress.VerificationError, match="99 dB") as caught:
        edgepress.export(**options, precision="int8", minimum_sqnr_db=99)
    assert isinstance(caught.value, edgepress.EdgepressError)
    assert not options["output"].exists()


def test_a_recipe_and_settings_on_top_of_it_as_on_the_command_line(options: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "r.toml"
    file.write_text('precision = "int8"\nranges = "min-max"\nlifts = []\nseed = 7\n[budget]\nsize = "1MB"\n')
    recipe = edgepress.load_recipe(file)
    bundle = edgepress.export(**options, recipe=recipe, ranges="mse", budget={"accuracy_drop": "1%"})
    written = bundle.manifest.recipe
    assert (written["ranges"], written["lifts"], written["seed"]) == ("mse", [], 7)
    assert written["budget"] == {"size": "1MB", "accuracy_drop": "1%"}
    assert load_report(bundle.path).precision == "int8"


def test_an_unknown_setting_names_the_nearest(options: dict[str, Any]) -> None:
    with pytest.raises(edgepress.InputError, match=r"Unknown setting 'rangs'(.|\n)*Did you mean ranges\?"):
        edgepress.export(**options, rangs="mse")  # type: ignore[call-arg]


def test_several_targets_give_a_bundle_each_and_share_the_capture(options: dict[str, Any]) -> None:
    options.pop("target")
    bundles = edgepress.export_all(**options, targets=("cpu", "mobile"))
    assert [bundle.manifest.target.name for bundle in bundles] == ["cpu", "android-arm64"]


def test_a_target_that_is_named_twice_is_made_once(options: dict[str, Any]) -> None:
    options.pop("target")
    one, two = edgepress.export_all(**options, targets=("server-cpu", edgepress.load_target("server-cpu")))
    assert one is two


def test_data_are_stronger_than_the_places_that_a_recipe_names(options: dict[str, Any]) -> None:
    made = edgepress.export(**options, recipe=edgepress.Recipe(precision="int8", calibration="nowhere.npz"))
    assert made.manifest.engine.precision == "int8"
    assert "calibration" not in made.manifest.recipe
