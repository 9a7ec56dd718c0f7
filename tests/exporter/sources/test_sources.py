from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from edgepress.errors import InputError
from edgepress.exporter.sources import load_source, source_from_object, torch_predict

GOOD = """
    import torch
    from torch import nn
    from parts import Net

    def model():
        torch.manual_seed(0)
        return Net()

    def inputs():
        return {"image": torch.ones(2, 1, 4, 4)}
"""
PARTS = """
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 3, 3)
            self.drop = nn.Dropout(0.5)
            self.linear = nn.Linear(12, 5)

        def forward(self, image):
            return self.linear(self.drop(self.conv(image).flatten(1)))
"""


def write(directory: Path, text: str, name: str = "net.py") -> str:
    path = directory / name
    path.write_text(textwrap.dedent(text))
    return str(path)


def fails(spec: str, *, trust: bool = False) -> str:
    with pytest.raises(InputError) as caught:
        load_source(spec, trust=trust)
    return str(caught.value)


@pytest.fixture
def good(tmp_path: Path) -> str:
    write(tmp_path, PARTS, "parts.py")
    return write(tmp_path, GOOD)


def test_a_file_with_model_and_inputs_is_enough_and_its_siblings_import(good: str) -> None:
    source = load_source(good)
    assert (source.name, source.kind, source.dynamic) == ("net", "python", {})
    assert source.calibration is None
    assert source.evaluate is None
    assert source.module is not None
    assert not source.module.training
    outputs = torch_predict(source)(source.inputs)
    assert {name: array.shape for name, array in outputs.items()} == {"output": (2, 5)}


def test_two_files_each_get_the_sibling_of_their_own_directory(tmp_path: Path) -> None:
    for name, features in (("one", 5), ("two", 7)):
        (tmp_path / name).mkdir()
        write(tmp_path / name, PARTS.replace("Linear(12, 5)", f"Linear(12, {features})"), "parts.py")
        source = load_source(write(tmp_path / name, GOOD))
        assert torch_predict(source)(source.inputs)["output"].shape == (2, features)


def test_the_digest_follows_weights_source_and_form_and_nothing_else(good: str, tmp_path: Path) -> None:
    first = load_source(good).digest
    assert load_source(good).digest == first
    (tmp_path / "elsewhere").mkdir()
    write(tmp_path / "elsewhere", PARTS, "parts.py")
    assert load_source(write(tmp_path / "elsewhere", GOOD)).digest == first
    assert load_source(write(tmp_path, GOOD.replace("manual_seed(0)", "manual_seed(1)"))).digest != first
    del sys.modules["parts"]
    write(tmp_path, PARTS.replace("return self", "return -self"), "parts.py")
    assert load_source(write(tmp_path, GOOD)).digest != first


def test_an_importable_module_is_a_source(good: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "package").mkdir()
    write(tmp_path / "package", "from net import inputs, model", "deep.py")
    monkeypatch.chdir(tmp_path)
    source = load_source("package.deep")
    assert source.name == "deep"
    assert source.inputs["image"].shape == (2, 1, 4, 4)


def test_calibration_is_not_read_before_it_is_iterated_and_blames_the_user(good: str, tmp_path: Path) -> None:
    text = (
        GOOD
        + """
    def calibration():
        yield {"image": torch.zeros(1, 1, 4, 4)}
        raise OSError("disk gone")
"""
    )
    source = load_source(write(tmp_path, text))
    assert source.calibration is not None
    for _ in range(2):
        feeds = iter(source.calibration())
        next(feeds)
        with pytest.raises(InputError, match="disk gone") as caught:
            next(feeds)
        assert "calibration() of " in str(caught.value)
        assert "in calibration\n" in str(caught.value)


def test_calibration_that_is_no_function_is_told_so(good: str, tmp_path: Path) -> None:
    text = (
        GOOD
        + """
    calibration = [inputs()]
"""
    )
    with pytest.raises(InputError, match="calibration is a list; expected a function"):
        load_source(write(tmp_path, text))


def test_training_loss_and_student_are_found_and_blame_the_user(good: str, tmp_path: Path) -> None:
    text = (
        GOOD
        + """
    def training(epoch=0, size=3):
        return [(epoch, size)]

    def loss(outputs, targets):
        return outputs.mean()

    def student():
        return 3
"""
    )
    source = load_source(write(tmp_path, text))
    assert source.training is not None
    assert source.loss is not None
    assert source.student is not None
    assert list(source.training()) == [(0, 3)]
    assert list(source.training(5)) == [(5, 3)]
    with pytest.raises(InputError, match=r"student\(\) gives a int; expected a torch.nn.Module"):
        source.student()
    source = load_source(write(tmp_path, GOOD + "\n    def training():\n        return open('nowhere')\n"))
    assert source.training is not None
    with pytest.raises(InputError, match="nowhere") as caught:
        source.training(2)
    assert "training() of " in str(caught.value)
    assert "in training\n" in str(caught.value)
    assert (source.loss, source.student) == (None, None)


def test_the_licence_of_a_model_is_what_its_file_says(good: str, tmp_path: Path) -> None:
    assert load_source(good).licence == ""
    stated = textwrap.dedent(GOOD) + "\ndef licence():\n    return 'Apache-2.0'\n"
    assert load_source(write(tmp_path, stated, "stated.py")).licence == "Apache-2.0"
    wrong = textwrap.dedent(GOOD) + "\ndef licence():\n    return ['MIT']\n"
    assert "licence() of" in fails(write(tmp_path, wrong, "wrong.py"))


def test_a_predictor_says_which_input_it_was_not_given() -> None:
    source = source_from_object(nn.Linear(4, 2), torch.ones(2, 4), name="m")
    with pytest.raises(InputError, match="was given other; it also needs input"):
        torch_predict(source)({"other": np.ones((3, 4), np.float32)})


def test_inputs_of_other_names_are_passed_by_position_where_their_number_fits() -> None:
    source = source_from_object(nn.Sequential(nn.Linear(4, 2)), {"features": torch.ones(2, 4)}, name="m")
    assert torch_predict(source)({"features": np.ones((3, 4), np.float32)})["output"].shape == (3, 2)


def test_inputs_come_in_the_order_of_forward() -> None:
    class Two(nn.Module):
        def forward(self, a: torch.Tensor, b: torch.Tensor) -> dict[str, object]:
            return {"a": a - b, "quotient": (a / b, None, a)}

    source = source_from_object(Two(), {"b": torch.ones(2) * 2, "a": torch.ones(2)}, name="two")
    assert list(source.inputs) == ["a", "b"]
    outputs = torch_predict(source)(source.inputs)
    assert list(outputs) == ["a_output", "quotient_0", "quotient_2"]
    assert outputs["quotient_0"].tolist() == [0.5, 0.5]


def test_a_tensor_alone_takes_its_name_from_forward() -> None:
    assert list(source_from_object(nn.Linear(3, 2), torch.ones(2, 3), name="m").inputs) == ["input"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = 1", "has no function model()"),
        ("def model(): return 3", "model() gives a int; expected a torch.nn.Module"),
        ("from torch import nn\ndef model(): return nn.ReLU()", "has no function inputs()"),
        (
            "from torch import nn\ndef model(): return nn.ReLU()\ndef inputs(): return [1]",
            "gives list; expected a dict",
        ),
        ("from torch import nn\ndef model(): return nn.ReLU()\ndef inputs(): return {'x': 1}", "'x': int; expected"),
        ("import nothing_of_this_name", "No module named 'nothing_of_this_name'"),
        ("def model(:", "SyntaxError"),
        ("import sys; sys.exit(3)", "SystemExit"),
    ],
)
def test_a_file_that_breaks_the_convention_is_told_what_is_missing(tmp_path: Path, text: str, expected: str) -> None:
    message = fails(write(tmp_path, text))
    assert expected in message
    assert "importlib" not in message
    assert "exporter/sources" not in message


@pytest.mark.parametrize(
    ("dynamic", "expected"),
    [
        ("{'picture': {0: 'batch'}}", "names picture; the inputs are image"),
        ("{'image': {4: 'batch'}}", "has no axis 4"),
        ("{'image': {0: 7}}", "expected a name like 'batch'"),
        ("{'image': {1: 'channels'}}", "but its example has size 1"),
        ("{'image': {0: 'n', 2: 'n'}}", "has size 2 in input 'image' and 4"),
        ("[0]", "expected {input: {axis: name}}"),
    ],
)
def test_free_axes_are_checked_against_the_example(good: str, tmp_path: Path, dynamic: str, expected: str) -> None:
    assert expected in fails(write(tmp_path, GOOD + f"\n    def dynamic():\n        return {dynamic}\n"))


def test_a_negative_axis_counts_from_the_end(good: str, tmp_path: Path) -> None:
    text = GOOD + "\n    def dynamic():\n        return {'image': {-1: 'width'}}\n"
    text = text.replace("Net()", "Net().conv").replace('"image"', '"input"').replace("'image'", "'input'")
    assert load_source(write(tmp_path, text)).dynamic == {"input": {3: "width"}}


def test_names_that_forward_does_not_take_are_listed_beside_those_it_takes(good: str, tmp_path: Path) -> None:
    text = GOOD.replace('{"image": torch.ones(2, 1, 4, 4)}', '{"picture": torch.ones(2), "mask": torch.ones(2)}')
    assert "names picture, mask; forward of Net takes image" in fails(write(tmp_path, text))


def test_a_first_linear_layer_of_the_wrong_size_is_named_with_what_it_was_given(tmp_path: Path) -> None:
    write(tmp_path, PARTS.replace("Linear(12, 5)", "Linear(100, 5)"), "parts.py")
    message = fails(write(tmp_path, GOOD))
    assert "mat1 and mat2 shapes cannot be multiplied (2x12 and 100x5)" in message
    assert "`linear`, Linear(in_features=100, out_features=5, bias=True), which was given (2, 12)" in message
    assert 'parts.py", line 12, in forward' in message
    assert "site-packages" not in message
    assert "exporter/sources" not in message


def test_the_users_own_exception_keeps_its_line(tmp_path: Path) -> None:
    write(tmp_path, PARTS.replace("return self.linear", "raise KeyError('scale')\n            self.linear"), "parts.py")
    message = fails(write(tmp_path, GOOD))
    assert "KeyError: 'scale'" in message
    assert "in forward" in message


def test_what_is_not_there_is_said_with_near_names(good: str) -> None:
    message = fails(str(Path(good).with_name("nets.py")))
    assert "nets.py does not exist" in message
    assert "net.py" in message
    assert "does not exist" in fails(str(Path(good).with_name("x.onnx")))
    assert "does not exist" in fails(str(Path(good).with_name("nowhere") / "model"))
    assert "importable Python module" in fails("no_such_module_at_all")


@pytest.mark.parametrize("name", ["w.pt", "w.pth", "w.bin", "w.safetensors", "w.pkl"])
def test_weights_and_pickles_are_never_loaded(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"content that nobody reads")
    message = fails(str(tmp_path / name), trust=True)
    assert "a model is code and weights together" in message
    assert "weights_only=True" in message


def test_a_pt2_program_takes_trust(tmp_path: Path) -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 2)

        def forward(self, x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
            return self.linear(x) * scale

    path = tmp_path / "both.pt2"
    free = torch.export.Dim.DYNAMIC
    module = Both()
    x, scale = torch.ones(3, 4), torch.ones(2)
    shapes = {"x": {0: free}, "scale": {}}
    torch.export.save(torch.export.export(module, (x,), {"scale": scale}, dynamic_shapes=shapes), path)
    assert "--trust-source" in fails(str(path))
    source = load_source(str(path), trust=True)
    assert source.dynamic == {"x": {0: "batch"}}
    assert source.program is not None
    found = torch_predict(source)({"x": np.ones((5, 4), np.float32), "scale": np.ones(2, np.float32)})["output"]
    np.testing.assert_allclose(found, module(torch.ones(5, 4), scale).detach().numpy(), rtol=1e-6)


def test_a_pt2_file_that_is_no_program_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.pt2").write_bytes(b"not a zip archive")
    assert "is not a program that torch" in fails(str(tmp_path / "x.pt2"), trust=True)


def test_an_onnx_file_gives_synthetic_inputs_and_its_free_axes(tmp_path: Path) -> None:
    ids = onnx.helper.make_tensor_value_info("ids", onnx.TensorProto.INT64, ["batch", "sequence"])
    mask = onnx.helper.make_tensor_value_info("mask", onnx.TensorProto.INT64, ["batch", "sequence"])
    out = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.INT64, ["batch", "sequence"])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Mul", ["ids", "mask"], ["y"])], "g", [ids, mask], [out])
    path = tmp_path / "my model.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)]), path)
    source = load_source(str(path))
    assert (source.name, source.kind, source.module) == ("my-model", "onnx", None)
    assert source.dynamic == {name: {0: "batch", 1: "sequence"} for name in ("ids", "mask")}
    assert source.inputs["ids"].shape == (2, 16)
    assert set(np.unique(source.inputs["ids"])) <= {0, 1}
    assert source.inputs["mask"].all()
