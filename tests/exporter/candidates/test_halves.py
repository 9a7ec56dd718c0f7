"""A half precision is held to what is asked on real samples, where an engine runs here and where none does."""

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import edgepress
from edgepress.exporter.bundle.seal import load_report
from edgepress.exporter.cli.verify import command


class Phase(torch.nn.Module):
    """A sine of a sine, whose argument float16 holds to a thousandth of its size."""

    def __init__(self):
        super().__init__()
        self.turn = torch.nn.Linear(16, 8)

    def forward(self, x):
        return torch.sin(20 * torch.sin(self.turn(x)))


def exported(target, scale, directory, precision="fp16", **options):
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    data = [{"x": (scale * rng.uniform(-1, 1, (8, 16))).astype(np.float32)} for _ in range(4)]
    given = {"calibration": data, "precision": precision, "measure": False, "output": directory}
    return edgepress.export(
        Phase().eval(),
        {"x": torch.rand(2, 16)},
        target=target,
        name="phase",
        dynamic={"x": {0: "n"}},
        **given | options,
    )


@pytest.mark.parametrize("target", ["rtx", "ios"])
def test_fp16_that_the_data_take_too_far_is_refused(target, tmp_path):
    """The example, and what is made up from it, stay where float16 is fine."""
    with pytest.raises(
        edgepress.VerificationError, match=r"on 32 calibration samples: output \'output\' has .*30(\.0)? dB needed"
    ):
        exported(target, 40, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("target", ["rtx", "ios"])
def test_fp16_that_the_data_suit_is_shipped(target, tmp_path):
    exported(target, 1, tmp_path)


@pytest.mark.parametrize(("precision", "data", "told"), [("fp16", False, 1), ("fp16", True, 0), ("fp32", False, 0)])
def test_ranges_that_no_data_showed_are_said_to_be_made_up(precision, data, told, tmp_path):
    options = {} if data else {"calibration": None}
    bundle = exported("ios", 1, tmp_path, precision, **options)
    said = [gap.why for gap in load_report(bundle.path).missing if gap.subject == "ranges"]
    assert len(said) == told and all("made-up inputs only" in why for why in said)


def test_it_is_made_once_for_the_targets_that_share_a_capture(tmp_path, monkeypatch):
    from edgepress.exporter.candidates import float_graph

    asked, counted = float_graph.fp16_exceptions, []
    monkeypatch.setattr(float_graph, "fp16_exceptions", lambda *given: counted.append(given) or asked(*given))
    rng = np.random.default_rng(0)
    bundles = edgepress.export_all(
        torch.nn.Sequential(torch.nn.Linear(16, 8), torch.nn.ReLU(), torch.nn.Linear(8, 4)).eval(),
        {"x": torch.rand(2, 16)},
        targets=("jetson", "jetson-orin-nx-16gb"),
        name="net",
        calibration=[{"x": rng.uniform(-1, 1, (8, 16)).astype(np.float32)}],
        precision="fp16",
        dynamic={"x": {0: "n"}},
        measure=False,
        output=tmp_path,
    )
    assert len(counted) == 1
    one, other = ((bundle.path / "model.onnx").read_bytes() for bundle in bundles)
    assert one == other


class Turns(torch.nn.Module):
    """What float32 computes to four digits, float16 to one: onnxruntime on x86 has no float16 kernels."""

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(16, 8)

    def forward(self, x):
        return torch.sin(30 * torch.sin(30 * torch.tanh(self.first(x))))


@pytest.mark.parametrize("target", ["rtx", "ios"])
def test_fp16_is_judged_with_every_result_rounded_beside_the_device(target, tmp_path):
    with pytest.raises(edgepress.VerificationError, match=r"'output' has -?\d+\.\d dB.*30(\.0)? dB needed"):
        made(Turns(), target, tmp_path, "fp16")
    assert made(Turns(), target, tmp_path, "auto").manifest.engine.precision != "fp16"


def test_verify_rounds_as_the_export_did(tmp_path):
    torch.manual_seed(0)
    bundle = made(
        torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.ReLU(), torch.nn.Linear(32, 8)), "ios", tmp_path
    )
    found = edgepress.verify_bundle(bundle.path)
    (shown,) = found.parity.values()
    proven = load_report(bundle.path).parity["engine"]["output"]
    assert not found.on_device and shown.sqnr_db == pytest.approx(proven.sqnr_db) and shown.sqnr_db < 75


def test_verify_says_that_it_did_not_round(tmp_path, monkeypatch):
    """Without the host's packages there is only the engine, which computes wider here."""
    module = torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.ReLU(), torch.nn.Linear(32, 8))
    bundle = made(module, "ios", tmp_path)
    assert not edgepress.verify_bundle(bundle.path).unrounded
    monkeypatch.setattr("edgepress.exporter.bundle.verify.find_spec", lambda name: None)
    assert edgepress.verify_bundle(bundle.path).unrounded
    said = CliRunner().invoke(command, [str(bundle.path)])
    assert said.exit_code == 0 and "not rounded as the export did" in said.output


def made(module, target, directory, precision="fp16"):
    torch.manual_seed(0)
    rng, name = np.random.default_rng(0), "x" if isinstance(module, Turns) else "input"
    return edgepress.export(
        module.eval(),
        {name: torch.rand(2, 16)},
        target=target,
        name="made",
        calibration=[{name: rng.normal(size=(2, 16)).astype(np.float32)} for _ in range(16)],
        precision=precision,
        measure=False,
        output=directory,
    )


def test_fp16_beside_int8_takes_over_what_a_pass_over_the_data_has_shown(tmp_path, monkeypatch):
    from edgepress.exporter.candidates import float_graph

    asked, given = float_graph.fp16_exceptions, []
    monkeypatch.setattr(float_graph, "fp16_exceptions", lambda *feeds: given.append(feeds) or asked(*feeds))
    rng = np.random.default_rng(0)
    data = [{"x": rng.uniform(-2, 2, (16, 3, 16, 16)).astype(np.float32)} for _ in range(8)]
    edgepress.export(
        torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 4, 3)).eval(),
        {"x": torch.rand(2, 3, 16, 16)},
        target="jetson",
        name="net",
        calibration=data,
        dynamic={"x": {0: "n"}},
        measure=False,
        output=tmp_path,
    )
    ((_, _, samples, known),) = given
    assert sum(len(feed["x"]) for feed in samples) == 32
    # Of the input as a pass over these very samples saw it, and of what lies between the convolutions.
    assert known["x"] == max(float(np.abs(feed["x"]).max()) for feed in data[:2])
    assert len(known) > 1
