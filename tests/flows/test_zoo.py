"""The zoo's judge believes no report: it sees an engine that computes something else."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from ._pages import ROOT

sys.path.insert(0, str(ROOT / "scripts"))

from _zoo import training
from _zoo.findings import findings
from _zoo.judge import Judgement, flattened, judge
from _zoo.lines import KEPT, newest, read, shortened, stamp
from _zoo.model import ZooModel, axes, images, together, tokens
from _zoo.random_weights import enliven
from _zoo.render import _figure, _lint, _said, _weights
from _zoo.run import _owed, _Watch
from _zoo.steadiness import Steadiness, forward, in_8_bits, steadiness
from _zoo.training import size_of
from _zoo.weights import weighted
from _zoo.work import _failures

from edgepress.errors import InputError, TargetsError, VerificationError


class Net:
    """A classifier as a model of the zoo, its bundle, and what torch makes of held-out pictures."""

    def __init__(self, output: Path, target: str = "server-cpu") -> None:
        import torch
        from torch import nn

        from edgepress import export

        torch.manual_seed(0)
        self.module = nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 5)
        )
        inputs = images(16, "input")
        model = ZooModel(name="net", library="none", build=lambda: self.module.eval(), inputs=inputs)
        rng = np.random.default_rng(1)
        example = {"input": torch.from_numpy(inputs(rng, 2)["input"])}
        free = {"dynamic": axes(model), "output": output, "measure": False}
        self.bundle = export(model.build(), example, target=target, precision="fp32", name="net", **free).path
        self.feeds = [inputs(rng, 5) for _ in range(2)]
        with torch.no_grad():
            self.wanted = [flattened(self.module(torch.from_numpy(feed["input"]))) for feed in self.feeds]

    def judged(self) -> Judgement:
        return judge(self.bundle, "fp32", self.feeds, self.wanted)


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Net:
    return Net(tmp_path_factory.mktemp("zoo"))


def test_an_engine_that_computes_what_torch_computes_works(net: Net) -> None:
    found = net.judged()
    assert found.sqnr_db > 90
    assert found.judged == "engine/model.onnx"
    assert found.verdict("fp32") == "works"


def test_an_engine_with_one_changed_weight_is_wrong(net: Net) -> None:
    import onnx
    from onnx import numpy_helper

    path = net.bundle / "engine" / "model.onnx"
    kept = path.read_bytes()
    model = onnx.load(path)
    weight = next(w for w in model.graph.initializer if len(w.dims) == 2)
    values = numpy_helper.to_array(weight).copy()
    values.flat[0] += 1
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    onnx.save(model, path)
    try:
        found = net.judged()
    finally:
        path.write_bytes(kept)
    assert found.verdict("fp32") == "wrong"
    assert found.graph_db > 90, "the graph beside it was not touched"


def test_integers_are_judged_by_agreement_and_another_shape_is_wrong(net: Net) -> None:
    right = net.wanted
    net.wanted = [{"output": values["output"][:, :4]} for values in right]
    try:
        assert net.judged().verdict("fp32") == "wrong"
        net.wanted = [{"output": values["output"].astype(np.int64)} for values in right]
        assert net.judged().sqnr_db == -100
    finally:
        net.wanted = right


def test_token_inputs_are_padded_at_the_end_and_other_for_another_seed() -> None:
    one, other = (tokens()(np.random.default_rng(seed), 4) for seed in (1, 2))
    assert (np.diff(one["attention_mask"]) <= 0).all()
    assert not np.array_equal(one["input_ids"], other["input_ids"])


def test_an_engine_is_opened_by_the_loader_beside_it(tmp_path: Path) -> None:
    net = Net(tmp_path, "cpu")
    assert net.judged().sqnr_db > 90, "in float32, on a processor with bf16 too"
    (net.bundle / "engine" / "load.py").write_text("def load():\n    raise RuntimeError('asked')\n")
    with pytest.raises(RuntimeError, match="asked"):
        net.judged()


def test_each_of_several_targets_that_fail_keeps_its_own_reason() -> None:
    errors = {"a": InputError("one thing.", hint="do this"), "b": VerificationError("another.")}
    found = _failures(TargetsError(errors, {}))
    assert {target: (line["verdict"], line["message"]) for target, line in found.items()} == {
        "a": ("refused", "one thing."),
        "b": ("refused", "another."),
    }
    assert _failures(KeyError("gone"))[None]["verdict"] == "traceback"


def test_depthwise_kernels_let_a_smooth_picture_pass() -> None:
    import torch

    torch.manual_seed(0)
    depthwise, grouped = torch.nn.Conv2d(32, 32, 3, groups=32), torch.nn.Conv2d(32, 32, 3, groups=16)
    before = [layer.weight.detach().clone() for layer in (depthwise, grouped)]
    enliven(torch.nn.Sequential(depthwise, grouped))
    assert abs(float((depthwise.weight.detach() - before[0]).mean() / before[0].std()) - 1) < 0.01
    assert torch.equal(grouped.weight, before[1])


def test_a_told_traceback_is_one_line_without_this_machines_paths() -> None:
    message = (
        "It branches.\nTraceback (most recent call last):\n"
        '  File "/home/me/site-packages/lib/a.py", line 1, in f\n    g()\n'
        '  File "/home/me/site-packages/lib/b.py", line 9, in g\n    if x:\n       ^'
    )
    line = {"verdict": "refused", "message": message, "hint": "Do not."}
    assert _said(line) == "It branches. At lib/b.py, line 9, in g if x: Do not."


def test_a_process_hangs_by_the_time_it_had_not_by_the_clock() -> None:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        watch, patient = _Watch(busy.pid, 0.3), _Watch(busy.pid, 1e6)
        try:
            while not watch.hangs():  # it ends, as that process gets what time there is
                assert busy.poll() is None
            assert not patient.hangs()
        finally:
            busy.kill()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as idle:
        assert not _Watch(idle.pid, 30).hangs()


def test_a_worker_ends_with_the_process_that_started_it() -> None:
    code = "import os, sys\nfrom _zoo.work import _end_with\nprint(os.getpid(), flush=True)\n"
    code += "_end_with(int(sys.argv[1]))"
    start = f"import os, subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}, str(os.getpid())])"
    parent = subprocess.Popen([sys.executable, "-c", start], cwd=ROOT / "scripts", stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    assert psutil.wait_procs([worker], timeout=60)[1] == []


def test_what_lint_says_of_a_shipped_graph_is_told_in_a_table(net: Net) -> None:
    assert findings(net.bundle) == []
    told = {"severity": "warning", "rule": "left", "operator": "Conv", "nodes": 2, "said": "a: why"}
    row = {"verdict": "works", "sqnr_db": 20.0, "size": 1, "lint": [told]}
    text = "\n".join(_lint({("net", "cpu", "int8"): row, ("other", "cpu", "int8"): {"verdict": "works"}}))
    assert "1 shipped graphs were held against the rules of their targets: 0 had errors." in text
    assert "| warning | `left` | Conv | 2 | 1 | net (cpu, int8): a: why |" in text


def test_of_several_results_the_newest_counts_and_what_is_kept_of_it_is_short() -> None:
    old = {"model": "net", "target": "cpu", "precision": "int8", "verdict": "hang", "date": "2026-11-26"}
    new = old | {"verdict": "works", "sqnr_db": 20.0, "seconds": 3.1, "traceback": "long", "date": "2026-11-26T08:00"}
    other = {key: value for key, value in old.items() if key != "date"} | {"target": "mobile"}
    assert newest([new, old, other]) == {("net", "cpu", "int8"): new, ("net", "mobile", "int8"): other}
    assert newest([old, old | {"verdict": "works"}])["net", "cpu", "int8"]["verdict"] == "works", "the last of a day"
    assert shortened(new) == {key: value for key, value in new.items() if key not in ("seconds", "traceback")}


def test_what_is_run_is_what_has_no_result_or_did_not_work_or_is_older() -> None:
    works, hangs = ({"verdict": verdict, "date": "2026-11-26T08:00"} for verdict in ("works", "hang"))
    assert _owed(None, again=False, before="")
    assert not _owed(works, again=True, before="")
    assert _owed(hangs, again=True, before="")
    assert not _owed(hangs, again=False, before="2026-11-26")
    assert _owed(works, again=False, before="2026-11-27")


def test_kept_results_are_each_once_in_order_and_say_when_where_and_of_which_code() -> None:
    lines = read(KEPT)
    keys = [(line["model"], line["target"], line["precision"]) for line in lines]
    assert keys == sorted(set(keys))
    assert all(line["date"] and line["processor"] and line["revision"] for line in lines)
    assert [json.dumps(line, ensure_ascii=False) for line in lines] == KEPT.read_text().splitlines()
    assert [shortened(line) for line in lines] == lines


def test_a_result_says_when_where_and_of_which_code_it_is() -> None:
    told = stamp()
    assert set(told) == {"date", "processor", "revision"}
    assert told["date"] > "2026-11-27"


def wild() -> Any:
    """What is made of its own random weights amplifies; as its author starts it, it does not, and learns."""
    import torch
    from torch import nn

    class Wild(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU())
            self.frozen = nn.Conv2d(8, 8, 1).requires_grad_(False)
            self.frozen.weight *= 0.003
            self.head = nn.Linear(8 * 49, 10)

        def forward(self, input: torch.Tensor) -> torch.Tensor:
            y = self.body(input)
            return self.head((y + torch.sin(300 * self.frozen(y))).flatten(1))

    return Wild()


AMPLIFYING = ZooModel(name="wild", library="none", build=wild, inputs=images(16, "input"))


@pytest.fixture
def clothes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Made-up pictures, of each class bars of its own place, where the weights are kept, and a short training."""

    def read(part: str) -> tuple[Any, Any]:
        rng = np.random.default_rng(len(part))
        classes = rng.integers(0, 10, 400).astype(np.uint8)
        pictures = rng.integers(0, 60, (400, 28, 28)).astype(np.uint8)
        for picture, number in zip(pictures, classes, strict=True):
            picture[2 * number : 2 * number + 8, 4:24] = 250
        return pictures, classes

    monkeypatch.setattr(training, "_read", read)
    monkeypatch.setattr(training, "HOME", tmp_path)
    monkeypatch.setattr(training, "STEPS", 60)
    return tmp_path


def test_what_torch_keeps_of_an_answer_tells_weights_that_amplify() -> None:
    import torch

    class Wild(torch.nn.Module):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return torch.sin(300 * input)

    class Large(torch.nn.Module):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return (input + 1e5) - 1e5

    feeds = [images(16, "input")(np.random.default_rng(0), 4) for _ in range(2)]
    found = {}
    for module in (torch.nn.Identity(), Wild(), Large()):
        found[type(module).__name__] = steadiness(module, feeds, [forward(module, feed) for feed in feeds])
    assert found["Identity"] == Steadiness(
        inputs_db=found["Wild"].inputs_db, rounded_db=found["Wild"].inputs_db, double_db=150
    )
    assert 35 < found["Wild"].inputs_db < 45
    assert found["Wild"].rounded_db < 5 and found["Large"].double_db < 70 < found["Wild"].double_db
    assert [steady.holds for steady in found.values()] == [True, False, False]
    assert Steadiness(inputs_db=None, rounded_db=None, double_db=100).holds, "tokens are not rounded"


def test_inputs_in_8_bits_have_256_values_and_tokens_stay() -> None:
    feeds = [images(16)(np.random.default_rng(0), 8) | tokens()(np.random.default_rng(0), 8)]
    (rounded,) = in_8_bits(feeds)
    assert 200 < len(np.unique(rounded["pixel_values"])) <= 256
    assert np.array_equal(rounded["input_ids"], feeds[0]["input_ids"])


def test_weights_that_amplify_are_trained_once_and_judged_on_other_pictures(clothes: Path) -> None:
    made = weighted(AMPLIFYING)
    assert made.random is not None and made.tried is None
    before, told = made.random
    assert not before.holds and made.steady.holds
    assert told.last_loss < told.first_loss and told.accuracy > 0.3
    (kept,) = clothes.glob("trained/wild-*.pt")
    written = kept.stat().st_mtime_ns
    again = weighted(AMPLIFYING)
    assert kept.stat().st_mtime_ns == written and again.steady == made.steady
    seen = np.concatenate([feed["input"] for feed in made.calibration])
    assert not any(np.array_equal(picture, other) for feed in made.held for picture in feed["input"] for other in seen)


def test_weights_that_training_does_not_mend_stay_random_and_say_so(
    clothes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("_zoo.steadiness.LEAST_DOUBLE_DB", 1000.0)
    monkeypatch.setattr(training, "STEPS", 2)
    made = weighted(AMPLIFYING)
    assert made.random is None and made.tried is not None
    assert set(made.line()) == {"torch"} and "tried" in made.line()["torch"]


def test_only_square_pictures_in_colour_alone_are_trained_on() -> None:
    assert size_of(AMPLIFYING) == ("input", 16)
    for inputs in (tokens(), images(16, channels=1), together(images(16), tokens())):
        assert size_of(replace(AMPLIFYING, inputs=inputs)) is None


def test_rows_of_networks_trained_here_are_marked_and_their_weights_told() -> None:
    kept = {"inputs_db": 40.0, "rounded_db": 41.6, "double_db": 115.0}
    trained = {
        "before": kept | {"rounded_db": 7.5},
        "steps": 150,
        "first_loss": 2.6,
        "last_loss": 0.8,
        "accuracy": 0.69,
    }
    row = {"model": "net", "date": "2026-11-28", "verdict": "works", "sqnr_db": 20.0, "size": 1000}
    row |= {"torch": kept, "trained": trained}
    assert _figure(row) == "20 dB†, 1 kB"
    (_, table) = _weights({("net", "cpu", "int8"): row})
    assert "| net | 40.0 | 7.5 | 41.6 | 115.0 | 115.0 | 150 | 2.60 to 0.80 | 69 % |" in table
