"""Two graphs run as many samples as tell them apart, and what is said of them is of those."""

import numpy as np
import onnx
import pytest
from onnx import helper

from edgepress.backends.base import SampleAxes
from edgepress.backends.places import Reference
from edgepress.calibration.collect import collect
from edgepress.calibration.feeds import checked
from edgepress.exporter.graphs.files import read_graph
from edgepress.exporter.quantization.gains import worthwhile
from edgepress.exporter.quantization.judging import JudgingSamples
from edgepress.exporter.quantization.quantizer import Quantizer
from edgepress.exporter.quantization.trial import GraphTrial, race
from edgepress.exporter.recipe import Recipe
from edgepress.profiles.device.target import load_target

from ._int8 import array, floats, model_of, opened

TARGET = load_target("mobile")
ROWS = SampleAxes(inputs={"x": 0}, outputs={"y": 0})


def feeds(batches=4, rows=8, seed=0):
    rng = np.random.default_rng(seed)
    return [{"x": rng.normal(size=(rows, 16)).astype(np.float32)} for _ in range(batches)]


def judged(given, answers):
    return JudgingSamples(
        feeds=given, kind="samples", expected=[{"y": a} for a in answers], along=ROWS, by_sample=ROWS.outputs
    )


def on_trial(directory, name, samples, factor, odd=0.0):
    """y = factor * x + odd * sin(50 * x): an error alike of all samples, and one that hangs on the sample."""
    nodes = [
        helper.make_node("Mul", ["x", "factor"], ["much"]),
        helper.make_node("Mul", ["x", "fifty"], ["quick"]),
        helper.make_node("Sin", ["quick"], ["sin"]),
        helper.make_node("Mul", ["sin", "odd"], ["more"]),
        helper.make_node("Add", ["much", "more"], ["y"]),
    ]
    given = {"factor": factor, "fifty": 50, "odd": odd}
    constants = [array(key, np.float32(value)) for key, value in given.items()]
    path = directory / name / "model.onnx"
    path.parent.mkdir()
    onnx.save(model_of(nodes, [floats("x", "n", 16)], [floats("y", "n", 16)], constants), path)
    return GraphTrial(graph=read_graph(path), target=TARGET, samples=samples, method="mse", lifts=(), notes={})


@pytest.fixture
def same():
    """Samples to which FP32 answers what it is given."""
    given = feeds()
    return judged(given, [feed["x"] for feed in given])


@pytest.mark.parametrize(("factor", "passed", "after_db"), [(1.02, False, 34.0), (1.005, True, 46.0)])
def test_what_is_clearly_worse_or_better_runs_the_first_batch_alone(factor, passed, after_db, same, tmp_path):
    before, after = on_trial(tmp_path, "before", same, 1.01), on_trial(tmp_path, "after", same, factor)
    found = race(before, after, 0.5)
    assert (found.passed, before.seen, after.seen, found.samples.count) == (passed, 1, 1, 8)
    assert str(found) == f"40.0 to {after_db:.1f} dB on 8 samples"


def test_a_close_one_runs_all_and_the_figures_of_all_decide(same, tmp_path):
    before, after = on_trial(tmp_path, "before", same, 1.01), on_trial(tmp_path, "after", same, 1.0, odd=0.0141)
    apart = race(before, after, -100).after_db - 40.0
    assert after.seen == 1  # nobody doubts that
    for least_db in (apart - 0.2, apart + 0.2):
        found = race(before, after, least_db)
        assert (before.seen, after.seen, found.samples.count) == (4, 4, 32)
        assert found.passed == (found.after_db >= found.before_db + least_db)


@pytest.mark.parametrize(("offset", "promised", "seen"), [(3.0, True, 1), (0.0, False, 4)])
def test_what_promises_enough_on_the_first_batch_runs_no_more(offset, promised, seen, tmp_path):
    given = [{"x": feed["x"] + np.float32(offset)} for feed in feeds()]
    trial = on_trial(tmp_path, "standing", judged(given, [feed["x"] for feed in given]), 1.01)
    assert (trial.promises(0.5), trial.seen) == (promised, seen)


def test_figures_are_those_of_the_samples_named(same, tmp_path):
    before, after = on_trial(tmp_path, "before", same, 1.01), on_trial(tmp_path, "after", same, 1.02, odd=0.01)
    found = race(before, after, -0.1)
    assert found.samples.count == 8
    x = same.feeds[0]["x"].astype(np.float64)
    error = 0.02 * x + 0.01 * np.sin(50 * x)
    assert found.after_db == pytest.approx(10 * np.log10((x**2).sum() / (error**2).sum()), abs=1e-3)


def test_what_changes_nothing_runs_the_first_batch_alone(same, tmp_path):
    before, after = on_trial(tmp_path, "before", same, 1.01), on_trial(tmp_path, "after", same, 1.01)
    assert race(before, after, -0.1).passed
    assert after.seen == 1


def test_what_is_asked_of_some_samples_is_not_asked_again(same, tmp_path, monkeypatch):
    sessions, asked, plain = [], [], Reference.open

    def counted(self, engine, threads=None):
        sessions.append(engine)
        session = plain(self, engine, threads)
        return lambda feed: asked.append(id(feed)) or session(feed)

    monkeypatch.setattr(Reference, "open", counted)
    before, after = on_trial(tmp_path, "before", same, 1.01), on_trial(tmp_path, "after", same, 1.02)
    race(before, after, 0.5)
    assert asked == [id(same.feeds[0])] * 2
    before.parity(), before.parity(2), before.parity()
    assert asked == [id(same.feeds[0])] * 2 + [id(feed) for feed in same.feeds[1:]]
    assert len(sessions) == 2


def test_where_one_sample_holds_the_signal_all_are_run(tmp_path):
    """The first eight are clear, and the other graph is better by the one that decides, as of tinynet_e."""
    given = feeds()
    given[2]["x"][0] *= 100
    # Beyond 30 the sine counts as nothing beside the error of the factor.
    samples = judged(given, [feed["x"] for feed in given])
    before, after = on_trial(tmp_path, "before", samples, 1.01), on_trial(tmp_path, "after", samples, 1.005, odd=0.05)
    found = race(before, after, 0.5)
    assert found.passed and found.samples.count == 32
    x = given[0]["x"]
    errors = 0.01 * x, 0.005 * x + 0.05 * np.sin(50 * x)
    assert (errors[0] ** 2).sum() < (errors[1] ** 2).sum() / 4


@pytest.mark.parametrize("kind", ["classes", "groups"])
def test_what_is_judged_by_more_than_its_energy_runs_all(kind, same, tmp_path):
    expected = [{"y": feed["x"].astype(np.int64) if kind == "classes" else feed["x"].copy()} for feed in same.feeds]
    if kind == "groups":
        for answer in expected:
            answer["y"][:, :8] *= 1000
    samples = JudgingSamples(feeds=same.feeds, kind="samples", expected=expected, along=ROWS, by_sample=ROWS.outputs)
    before, after = on_trial(tmp_path, "before", samples, 1.01), on_trial(tmp_path, "after", samples, 1.5)
    assert race(before, after, 0.5).samples.count == 32


def test_the_figures_of_what_is_kept_are_of_all_samples(tmp_path):
    """Of the convolution's lifts one is kept and one is not; what was chosen has run all, whatever its trial needed."""
    rng = np.random.default_rng(0)
    scale = np.exp(rng.normal(0, 1.5, 16)).astype(np.float32)
    first = rng.normal(size=(16, 4, 3, 3)).astype(np.float32) * scale[:, None, None, None]
    second = rng.normal(size=(8, 16, 3, 3)).astype(np.float32) / scale[:, None, None]
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["inner"], "first"),
        helper.make_node("Relu", ["inner"], ["positive"]),
        helper.make_node("Conv", ["positive", "b"], ["y"], "second"),
    ]
    weights = [array("a", first), array("b", second)]
    model = model_of(nodes, [floats("x", "n", 4, 12, 12)], [floats("y", "n", 8, 8, 8)], weights)
    onnx.save(model, tmp_path / "float.onnx")
    graph, recipe = read_graph(tmp_path / "float.onnx"), Recipe()
    given = [{"x": rng.normal(size=(8, 4, 12, 12)).astype(np.float32)} for _ in range(12)]
    session = opened(tmp_path / "float.onnx")
    answers = [{"y": session.run(None, feed)[0]} for feed in given[:4]]
    samples = JudgingSamples.of(graph, given[:4], "calibration samples", answers)
    observed = Quantizer.of(graph, TARGET.scheme).placement.observed()
    beyond, shipped = (
        collect(graph, observed, checked(lambda data=data: iter(data), graph.inputs, "test"))
        for data in (given[4:], given)
    )
    found = worthwhile(graph, TARGET, recipe, beyond, samples, tmp_path, shipped=shipped)
    said = " ".join(found.sentences)
    assert "on 8 samples" in said or "on 8 calibration samples" in said
    path = tmp_path / "chosen.onnx"
    chosen = Quantizer.of(graph, TARGET.scheme, lifts=found.lifts, feature_maps=found.feature_maps)
    chosen.write(beyond, path)
    with Reference().open(Reference().runs(read_graph(path), TARGET, "fp32", None)) as place:
        errors = [answer["y"] - place(feed)["y"] for answer, feed in zip(answers, samples.feeds, strict=True)]
    energies = (np.square(np.concatenate(part), dtype=np.float64).sum() for part in ([a["y"] for a in answers], errors))
    assert found.sqnr_db == pytest.approx(10 * np.log10(np.divide(*energies)), abs=0.05)
    assert found.sentences[-1] == f"int8 as it was chosen: {found.sqnr_db:.1f} dB on 32 calibration samples."
    assert not list(tmp_path.rglob("model.onnx"))  # graphs on trial are gone
