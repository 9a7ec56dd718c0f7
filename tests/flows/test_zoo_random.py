"""Networks that nobody wrote: a seed is one network, and an engine of it that computes something else is found."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ._pages import ROOT

sys.path.insert(0, str(ROOT / "scripts"))

from _zoo.chance import shrink
from _zoo.chance.network import Drawn, drawn, named
from _zoo.chance.run import kind_of, summary
from _zoo.chance.state import BLOCKS, KINDS
from _zoo.judge import Judgement, claimed_db
from _zoo.steadiness import forward
from _zoo.weights import weighted
from _zoo.work import lines

# A picture with free sizes, tokens, token numbers, a volume; ones with a second input, a whole number among them.
SEEDS = (1, 3, 7, 8, 9, 12, 17)


def answers(found: Drawn) -> dict[str, Any]:
    return forward(found.module, found.feed(np.random.default_rng(0), 3))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_same_seed_is_the_same_network(seed: int) -> None:
    one, again = drawn(seed), drawn(seed)
    assert one.blocks == again.blocks and one.input == again.input
    for name, array in answers(one).items():
        assert np.array_equal(array, answers(again)[name])


def test_seeds_differ_and_draw_from_every_kind() -> None:
    found = [drawn(seed) for seed in range(40)]
    assert len({each.blocks for each in found}) == 40
    assert {each.input.kind for each in found} == {*KINDS, "nt"}
    assert len({name for each in found for _, name in each.blocks}) > len(BLOCKS) / 2
    assert {"scale", "condition", "keep", "kind"} <= {each.extra for each in found}
    assert {each.module.form for each in found} == {"tuple", "list", "named", "nested"}


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_left_of_a_network_has_the_blocks_that_it_had(seed: int) -> None:
    whole = drawn(seed)
    kept = [number for number, _ in whole.blocks[:-1]]
    assert drawn(seed, kept).blocks == whole.blocks[:-1]
    assert named(f"random-{seed}:{','.join(map(str, kept))}").by_chance


def test_sizes_that_are_free_differ_between_what_ranges_come_from_and_what_judges() -> None:
    model = named("random-1")
    made = weighted(model)
    assert model.sizes == {"size3": "24:24:56"}
    assert {feed["x"].shape[3] for feed in made.calibration} == {24, 40}
    assert {(feed["x"].shape[0], feed["x"].shape[3]) for feed in made.held} == {(5, 32)}
    assert not {feed["x"].shape for feed in made.held} & {feed["x"].shape for feed in made.calibration}


def test_weights_that_say_nothing_are_no_test() -> None:
    (line,) = lines(named("random-0"), "int8", ("server-cpu",))
    assert (line["verdict"], line["message"]) == ("no test", "torch alone amplifies what is rounded")


def test_an_engine_that_computes_something_else_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgepress.exporter import api

    real = api.export_all

    def planted(*args: Any, **options: Any) -> Any:
        made = real(*args, **options)
        _change_a_weight(Path(options["output"]) / "zoo-server-cpu" / "engine" / "model.onnx")
        return made

    (line,) = lines(named("random-14"), "fp32", ("server-cpu",))
    assert line["verdict"] == "works" and line["sqnr_db"] > 90
    monkeypatch.setattr(api, "export_all", planted)
    (line,) = lines(named("random-14"), "fp32", ("server-cpu",))
    assert line["verdict"] == "wrong" and line["graph_db"] > 90


def _change_a_weight(path: Path) -> None:
    import onnx
    from onnx import numpy_helper

    model = onnx.load(path)
    weight = max(model.graph.initializer, key=lambda w: len(w.dims) * (w.data_type == onnx.TensorProto.FLOAT))
    values = numpy_helper.to_array(weight) * np.float32(1.2)
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    onnx.save(model, path)


def test_a_figure_that_held_out_data_are_far_from_is_wrong() -> None:
    said = (
        "The engine computes what model.onnx does: worst output {} dB of SQNR against FP32 on 32 calibration samples, x"
    )
    report = {"precision": "int8", "evidence": [{"claim": "model.onnx was compiled"}, {"claim": said.format("35.2")}]}
    assert claimed_db(report) == 35.2 and claimed_db({"precision": "int8", "evidence": []}) is None
    assert claimed_db({"precision": "fp32", "evidence": [{"claim": said.format("inf")}]}) == 150
    # Where no engine runs, what was seen of the captured graph is no claim about int8.
    graph = "It was held against the model on the first 8 calibration samples: 111.9 dB of SQNR at the worst output"
    claims = [claimed_db({"precision": name, "evidence": [{"claim": graph}]}) for name in ("int8", "fp16")]
    assert claims == [None, 111.9]
    found = Judgement(sqnr_db=20, graph_db=20, swing_db=20, output="y", size=1, judged="engine")
    assert found.verdict("int8") == "works" and found.overstated(35.2, "int8")
    assert not found.overstated(28.0, "int8") and not found.overstated(None, "int8")


def test_a_network_is_shrunk_to_the_blocks_that_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {number for number, _ in drawn(8).blocks[1:4:2]}

    def told(model: Any, target: str, precision: str) -> tuple[str, str]:
        blocks = {int(number) for number in model.name.partition(":")[2].split(",")} if ":" in model.name else wanted
        return ("wrong" if wanted <= blocks else "works"), ""

    monkeypatch.setattr(shrink, "_told", told)
    left = shrink.shrink("random-8", "cpu", "int8").partition(":")[2]
    assert wanted <= {int(number) for number in left.split(",")} and len(left.split(",")) < len(drawn(8).blocks)


def test_a_summary_counts_verdicts_and_puts_alike_reasons_together() -> None:
    line = {"target": "cpu", "precision": "int8"}
    refused = [
        line | {"model": f"random-{n}", "verdict": "refused", "message": f"node 'a{n}' has {n}.5 dB"} for n in (1, 2)
    ]
    works = line | {"model": "random-3", "verdict": "works", "sqnr_db": 30.0, "claimed_db": 31.0}
    told = summary([*refused, works])
    assert "| cpu | int8 | 1 | 0 | 0 | 2 |" in told
    assert "1 (cpu int8), 2 (cpu int8)" in told and kind_of(refused[0]) == kind_of(refused[1])
