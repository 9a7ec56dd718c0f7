"""The generator of random ONNX graphs: valid, the same for the same seed, and its judge believes no report."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from ._pages import ROOT

sys.path.insert(0, str(ROOT / "scripts"))

from _zoo.random_graphs.made import Made, make
from _zoo.random_graphs.trials import told, written
from _zoo.random_graphs.verdict import Found, judged

from edgepress import export


@pytest.mark.parametrize("seed", range(0, 60, 6))
def test_the_same_seed_makes_the_same_valid_bytes(seed: int) -> None:
    one, two = make(seed), make(seed)
    assert one.model.SerializeToString(deterministic=True) == two.model.SerializeToString(deterministic=True)
    onnx.checker.check_model(one.model)
    feed = one.feed(3, 5 if one.free else one.size)
    assert all(np.array_equal(one.answer(feed)[name], array) for name, array in two.answer(feed).items())
    assert 7 <= one.model.opset_import[0].version <= 23


def test_seeds_differ_in_opset_operators_and_oddities() -> None:
    made = [make(seed) for seed in range(60)]
    assert len({one.model.opset_import[0].version for one in made}) > 10
    assert len({node.op_type for one in made for node in one.model.graph.node}) > 60
    assert len({odd for one in made for odd in one.odd}) > 12


def exported(made: Made, directory: Path) -> Path:
    written(made, directory, "fp32")
    out = export(directory / "model.onnx", target="server-cpu", precision="fp32", output=directory, measure=False)
    return out.path


# A convolution, a product and what lies between; its batch is free.
SEED = 78


def test_an_engine_with_changed_weights_is_found(tmp_path: Path) -> None:
    made = make(SEED)
    bundle = exported(made, tmp_path)
    assert judged(made, bundle).verdict("fp32") == "works"
    engine = bundle / "engine" / "model.onnx"
    model = onnx.load(engine)
    for held in [one for one in model.graph.initializer if one.data_type == 1 and len(one.dims) > 1]:
        held.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(held) * np.float32(1.3), held.name))
    onnx.save(model, engine)
    assert judged(made, bundle).verdict("fp32") == "wrong"


def test_what_is_wrong_and_what_is_told() -> None:
    good = Found(sqnr_db=40, graph_db=44, output="y", claimed_db=45, warnings=())
    astray = Found(sqnr_db=25, graph_db=44, output="y", claimed_db=26, warnings=())
    low = Found(sqnr_db=8, graph_db=8, output="y", claimed_db=9, warnings=())
    warned = Found(sqnr_db=8, graph_db=8, output="y", claimed_db=9, warnings=("few samples",))
    assert [one.verdict("int8") for one in (good, astray, low, warned)] == ["works", "wrong", "wrong", "warned"]
    assert Found(sqnr_db=25, graph_db=25, output="y", claimed_db=26, warnings=()).verdict("fp32") == "wrong"


def test_how_a_run_ended_is_read_off_its_words() -> None:
    of = {"seed": 1, "ended": None, "code": 0, "words": ""}
    assert told({**of, "words": '\nJUDGED: [{"verdict": "works"}]\n'})["verdict"] == "works"
    assert told({**of, "code": 1, "words": "error: no.\n"})["verdict"] == "refused"
    assert told({**of, "code": 70, "words": "Traceback (most recent call last):\n"})["verdict"] == "traceback"
    assert told({**of, "ended": "hang"})["verdict"] == "hang"


def test_later_seeds_have_rarer_operators_and_earlier_ones_what_they_had() -> None:
    rare = {"Col2Im", "DeformConv", "HannWindow", "SequenceMap", "Compress", "ArgMin", "Attention", "CenterCropPad"}
    assert not rare - {"Attention"} & {node.op_type for seed in range(60) for node in make(seed).model.graph.node}
    assert len(rare & {node.op_type for seed in range(4000, 4100) for node in make(seed).model.graph.node}) > 4
