"""Weights that do not fit the network of `model()`, loads that load nothing, and what else it gives."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
import torch
from torch import nn

from edgepress.errors import InputError
from edgepress.exporter.sources import load_source

CODE = """
import pathlib
import torch
from torch import nn
HERE = pathlib.Path(__file__).parent

def network():
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))

def inputs():
    return {"input": torch.ones(2, 4)}

def model():
    net = network()
"""
LOAD = "net.load_state_dict(torch.load(HERE / 'w.pt', weights_only=True)%s); return net"


def weights() -> dict[str, torch.Tensor]:
    return dict(nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)).state_dict())


def source(directory: Path, *lines: str) -> str:
    path = directory / "net.py"
    path.write_text(CODE + textwrap.indent("\n".join(lines), "    ") + "\n")
    return str(path)


def refused(spec: str) -> str:
    with pytest.raises(InputError) as caught:
        load_source(spec, trust=True)
    return f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize(
    ("saved", "says"),
    [
        ({f"module.{name}": value for name, value in weights().items()}, "begin with 'module.', as of a wrapper"),
        ({f"_orig_mod.{name}": value for name, value in weights().items()}, "removeprefix('_orig_mod.')"),
        ({"model": weights(), "epoch": torch.tensor(3)}, "holds more than weights (model, epoch)"),
        ({"state_dict": weights()}, "load the entry that has them"),
        ({"0.weight": weights()["0.weight"], "2.weight": weights()["2.weight"]}, "lacks these weights"),
        ({**weights(), "4.weight": torch.ones(1)}, "weights that the network lacks"),
        ({**weights(), "2.weight": torch.ones(5, 6)}, "sizes that it was trained with"),
    ],
)
def test_what_names_show_of_weights_that_do_not_fit(tmp_path: Path, saved: dict[str, object], says: str) -> None:
    torch.save(saved, tmp_path / "w.pt")
    assert says in refused(source(tmp_path, LOAD % ""))


def test_a_load_that_is_not_strict_and_loads_nothing_is_refused(tmp_path: Path) -> None:
    torch.save({f"module.{name}": value for name, value in weights().items()}, tmp_path / "w.pt")
    said = refused(source(tmp_path, LOAD % ", strict=False"))
    assert "load_state_dict(strict=False) loads none of 4 weights of Sequential" in said
    assert "removeprefix('module.')" in said


def test_a_load_that_loads_a_part_or_is_made_good_is_none(tmp_path: Path) -> None:
    torch.save({"0.weight": weights()["0.weight"], "old.weight": torch.ones(1)}, tmp_path / "w.pt")
    assert load_source(source(tmp_path, LOAD % ", strict=False")).module is not None
    torch.save({f"module.{name}": value for name, value in weights().items()}, tmp_path / "w.pt")
    tried = LOAD.replace("; return net", "") % ", strict=False"
    again = "net.load_state_dict({n[7:]: v for n, v in torch.load(HERE / 'w.pt').items()}); return net"
    assert load_source(source(tmp_path, tried, again)).module is not None
    assert nn.Module.load_state_dict.__module__.startswith("torch")


@pytest.mark.parametrize(
    ("gives", "says"),
    [
        ("return None", "gives nothing; expected a torch.nn.Module. Is its `return` missing?"),
        ("return {'ema': net, 'epoch': 3}", "One is inside: give ['ema'] of it."),
        ("return net, 3", "gives a tuple; expected a torch.nn.Module. One is inside: give [0] of it."),
        ("return net.state_dict()", "gives an OrderedDict; expected a torch.nn.Module. That is weights"),
        ("return torch.jit.script(net).forward", "torch.jit compiled it"),
        ("return net.to('meta')", "they have shapes and no values. Build it without torch.device('meta')"),
        ("return torch.jit.freeze(torch.jit.script(net.eval()))", "this script is frozen: it has no state_dict"),
        ("return torch.jit.script(net)", "module.load_state_dict(script.state_dict())"),
        (
            "return nn.Sequential(torch.export.export(net, (torch.ones(2, 4),)).module())",
            "the module '0' inside the model is the module of an exported program",
        ),
    ],
)
def test_what_is_no_model_says_the_way_to_one(tmp_path: Path, gives: str, says: str) -> None:
    assert says in refused(source(tmp_path, gives))


def test_a_path_where_no_decoder_lies(tmp_path: Path) -> None:
    torch.save(weights(), tmp_path / "w.pt")
    said = refused(source(tmp_path, "return HERE / 'w.pt'"))
    assert "where no model that writes text lies" in said
    assert "of any other model the module" in said


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("net.h5", "is a model of TensorFlow or Keras, from which nothing is exported. Give an .onnx file"),
        ("net.engine", "is an engine of TensorRT"),
        ("net.ipynb", "is a notebook"),
        ("net.pth.tar", "a model is code and weights together"),
        ("net.yaml", "net.yaml is not a model source."),
        ("weights-of-42", "weights-of-42 is not a model source."),
    ],
)
def test_files_that_are_there_are_not_said_to_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, says: str
) -> None:
    (tmp_path / name).write_bytes(b"content that nobody reads")
    monkeypatch.chdir(tmp_path)
    assert says in refused(name)


@pytest.mark.parametrize("name", ["net.onnx", "net.pt2", "net.pt", "net.gguf"])
def test_a_pointer_of_git_lfs_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12345\n")
    assert "is a pointer of git-lfs; the file itself was not fetched. Fetch it: git lfs pull" in refused(
        str(tmp_path / name)
    )


def test_a_directory_and_a_module_pickled_whole(tmp_path: Path) -> None:
    (tmp_path / "net.pt").mkdir()
    assert "is a directory" in refused(str(tmp_path / "net.pt"))
    torch.save(nn.Linear(2, 2), tmp_path / "net.pth")
    said = refused(str(tmp_path / "net.pth"))
    assert "holds a module or other objects, pickled whole" in said
    assert "weights_only=False" in said


def test_an_exit_of_the_users_code_is_an_error_and_not_the_end(tmp_path: Path) -> None:
    assert "model() of" in (said := refused(source(tmp_path, "raise SystemExit(0)")))
    assert "SystemExit: 0" in said
    spec = source(tmp_path, "return net")
    Path(spec).write_text(Path(spec).read_text() + "\ndef calibration():\n    import sys\n    sys.exit(3)\n    yield\n")
    loaded = load_source(spec)
    assert loaded.calibration is not None
    with pytest.raises(InputError, match=r"calibration\(\) of .* fails"):
        list(loaded.calibration())
