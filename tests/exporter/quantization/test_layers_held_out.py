"""Layers that are left in float are chosen on some samples and judged on others."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

import edgepress
from edgepress.exporter.bundle.reportables import load_report
from edgepress.exporter.quantization import compensated, gains
from edgepress.profiles.device.target import load_target

from ._held_out import Layers, batches, exported, said


def test_layers_are_left_in_float_where_ranges_of_other_data_ask_for_it(tmp_path):
    """The first samples are a tenth wider than all others: with ranges of their own, full int8 would have 41 dB."""
    report = exported(batches([1.1] * 4 + [1] * 16), tmp_path, bias=False, minimum_sqnr_db=39)
    full, *_ = report.sensitivity.trials
    assert full.sqnr_db < 35 and not full.holds
    assert len(report.sensitivity.left) == 1
    assert report.sensitivity.reached_db > 39


def test_layers_that_were_chosen_on_some_samples_are_judged_on_others(tmp_path):
    """The further samples are a fiftieth as wide as those on which one layer in float was enough."""
    with pytest.raises(edgepress.VerificationError, match="on 32 further calibration samples"):
        exported(batches([1] * 4 + [0.02] * 16), tmp_path, bias=False, minimum_sqnr_db=43)
    assert not list(tmp_path.iterdir())


def test_a_choice_that_others_do_not_quite_bear_is_said_with_both_figures(tmp_path):
    report = exported(batches([1] * 20), tmp_path, bias=False, minimum_sqnr_db=43)
    assert len(report.sensitivity.left) == 1
    (gap,) = said(report, "layers in float")
    assert re.search(r"chosen on 32 calibration samples: 4[4-6]\.\d dB", gap), gap
    assert re.search(r"4[23]\.\d dB on 32 further calibration samples, 43 dB asked", gap), gap


def test_what_one_large_sample_reaches_is_not_taken_for_the_others(tmp_path):
    """One row of 32 is 50 times as large: the ratio over all is its own, and int8 leaves the others next to nothing."""
    rng = np.random.default_rng(0)
    data = [{"x": rng.uniform(-1, 1, (8, 16)).astype(np.float32)} for _ in range(16)]
    for feed in data[::4]:
        feed["x"][0] *= 50
    said = r"has (\d+\.\d) dB .* on 32 calibration samples, and samples differ so much .* only (-?\d+\.\d) dB is sure"
    with pytest.raises(edgepress.VerificationError, match=said) as refused:
        exported(data, tmp_path, exclude=(), minimum_sqnr_db=30, rungs=["float"])
    reached, sure = map(float, re.search(said, str(refused.value)).groups())
    assert reached >= 30 > sure


def test_steps_of_time_are_not_taken_for_samples(tmp_path):
    """Time first, and the first of 8 steps is 50 times as large: with batch first each sample has one of those."""
    rng = np.random.default_rng(0)
    data = [{"x": rng.uniform(-1, 1, (8, 2, 16)).astype(np.float32)} for _ in range(16)]
    for feed in data:
        feed["x"][0] *= 50
    torch.manual_seed(0)
    bundle = edgepress.export(
        Layers().eval(),
        {"x": torch.rand(8, 2, 16)},
        target="mobile",
        name="layers",
        dynamic={"x": {1: "n"}},
        calibration=data,
        precision="int8",
        minimum_sqnr_db=30,
        measure=False,
        output=tmp_path,
    )
    assert load_report(bundle.path).sensitivity.left == ()


class Gated(torch.nn.Module):
    """Its first feature closes a part of the network where it is large; how large it is does not matter."""

    def __init__(self):
        super().__init__()
        self.first, self.middle, self.last = torch.nn.Linear(16, 32), torch.nn.Linear(32, 32), torch.nn.Linear(32, 4)
        with torch.no_grad():
            self.first.weight[:, 0] = 0
            self.first.weight[:8, 0] = -1

    def forward(self, x):
        return self.last(torch.relu(self.middle(torch.relu(self.first(x)))))


def test_what_is_enough_with_ranges_of_other_data_alone_leaves_layers_in_float(tmp_path):
    """Two samples that only the ranges that ship have seen make them 80 times as wide: 22 dB of the 25 asked."""
    data = batches([1] * 20)
    for batch in data[:2]:
        batch["x"][0, 0] = 80
    torch.manual_seed(0)
    bundle = edgepress.export(
        Gated().eval(), {"x": torch.rand(2, 16)}, target="mobile", name="gated", dynamic={"x": {0: "n"}},
        calibration=data, precision="int8", minimum_sqnr_db=25, ranges="min-max", measure=False, output=tmp_path,
    )  # fmt: skip
    report = load_report(bundle.path)
    assert "first/Gemm" in report.left_float
    assert "middle/Gemm" not in report.left_float


def test_rounding_that_was_not_enough_with_ranges_of_other_data_is_not_done_again(tmp_path, monkeypatch):
    """The data behind the samples vary in one direction only, so that rounding by them loses; one layer in float does.

    Not with the ranges that ship, which two samples widen: another layer has to be left in float for these.
    """
    rounded, plain = [], compensated.fit_weights
    monkeypatch.setattr(compensated, "fit_weights", lambda *given: rounded.append(1) or plain(*given))
    data = batches([1] * 20)
    for batch in data[:2]:
        batch["x"][0, 0] = 3
    for batch in data[4:]:
        batch["x"][:] = batch["x"][:, 1:2]
    torch.manual_seed(0)
    bundle = edgepress.export(
        Gated().eval(), {"x": torch.rand(2, 16)}, target="mobile", name="gated", dynamic={"x": {0: "n"}},
        calibration=data, precision="int8", minimum_sqnr_db=44.5, ranges="min-max", measure=False, output=tmp_path,
    )  # fmt: skip
    report = load_report(bundle.path)
    assert len(rounded) == 1
    ground, rounding, shipped = report.ladder.steps
    assert ground.assured_db < 42 and rounding.sqnr_db is None
    assert "with ranges of other data it had 40." in rounding.said, rounding.said
    assert shipped.name == "float" and shipped.holds and "first/Gemm" in report.left_float


def test_targets_whose_integers_are_the_same_climb_once(tmp_path, monkeypatch):
    """Signed ones of one target and unsigned ones of another; what each ships is what it would without the other."""
    climbed, plain = [], compensated.fit_weights
    monkeypatch.setattr(compensated, "fit_weights", lambda *given: climbed.append(1) or plain(*given))
    vnni = replace(gains.this_machine(), isa=("avx2", "avx512_vnni"))
    monkeypatch.setattr(gains, "this_machine", lambda: vnni)
    signed = load_target("mobile")
    unsigned = replace(signed.scheme, activation=replace(signed.scheme.activation, signed=False))
    both = [replace(signed, name="unsigned", aliases=(), scheme=unsigned), signed]
    torch.manual_seed(0)
    network, shipped = Gated().eval(), {}
    for name, targets in (("both", both), ("alone", both[1:])):
        climbed.clear()
        found = edgepress.export_all(
            network, {"x": torch.rand(2, 16)}, targets=targets, name="gated", dynamic={"x": {0: "n"}}, precision="int8",
            calibration=batches([1] * 20), minimum_sqnr_db=47, measure=False, output=tmp_path / name,
        )  # fmt: skip
        assert len(climbed) == 1, name
        for target, bundle in zip(targets, found, strict=True):
            report = load_report(bundle.path)
            assert report.ladder is not None and report.left_float
            shipped[name, target.name] = (bundle.path / "model.onnx").read_bytes()
    assert shipped["both", signed.name] == shipped["alone", signed.name] != shipped["both", "unsigned"]
