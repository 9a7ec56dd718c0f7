"""A decoder whose user says what counts: a Python file with `model()` that gives a path, and `evaluate(predict)`."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

import edgepress
from edgepress.errors import InputError, VerificationError

from ._flow import Cli, read
from ._language import QUICK

HITS = """
import numpy as np

TEXT = "The with statement is used to wrap the execution of a block with methods defined by a context manager."


def model():
    return "tale"


def evaluate(predict):
    tokens = np.array([predict.encode(TEXT)])
    logits = predict({"input_ids": tokens})["logits"][0]
    assert predict.write(tokens[0, :9].tolist(), 3)[:1] in ([int(logits[8].argmax())], [])
    below = logits.max(-1) - logits.mean(-1)
    return float(below.mean())
"""


@pytest.fixture
def model(tales: Path, tmp_path: Path) -> Path:
    shutil.copytree(tales / "tale", tmp_path / "tale")
    return tmp_path


def test_the_users_metric_is_taken_of_fp32_and_of_the_engine(model: Path, cli: Cli) -> None:
    (model / "hits.py").write_text(HITS)
    ran = cli("export", "hits.py", "-t", "server-cpu", *QUICK)
    assert ran.code == 0, ran.err
    report = read(model / "dist" / "hits-server-cpu")
    torches = transformers.AutoModelForCausalLM.from_pretrained(model / "tale")
    words = transformers.AutoTokenizer.from_pretrained(model / "tale")
    text = HITS.split('"')[1]
    with torch.no_grad():
        logits = torches(torch.tensor([words(text)["input_ids"]])).logits[0]
    assert report["task"]["before"] == pytest.approx(float((logits.amax(-1) - logits.mean(-1)).mean()), rel=1e-4)
    assert report["task"]["after"] == pytest.approx(report["task"]["before"], rel=0.05)
    assert report["task"]["after"] != report["task"]["before"]
    ran = cli("check", "dist/hits-server-cpu", "--budget", "accuracy_drop=90%", "--budget", "accuracy=1000")
    assert ran.code == 3
    assert "accuracy_drop" in ran.out and "1 of 2" not in ran.err


@pytest.mark.slow
def test_what_the_metric_may_lose_decides_what_is_shipped(model: Path) -> None:
    """4 bits where the metric does not mind, FP32 where it minds any change; perplexity is not asked."""
    asked: list[float] = []

    def strict(predict) -> float:
        logits = predict({"input_ids": np.array([[5, 6, 7, 8]])})["logits"]
        asked.append(float(logits.sum()))
        return -abs(asked[-1] - asked[0])

    options = {"target": "server-cpu", "max_drop": "0.0001", "measure": False, "output": model / "dist"}
    settings = edgepress.WeightSettings(rounding="nearest")
    easy = edgepress.export(
        model / "tale", evaluate=lambda predict: 1.0, weight_settings=settings, precision="int4", **options
    )
    assert easy.manifest.engine.precision == "int4"
    hard = edgepress.export(
        model / "tale", evaluate=strict, weight_settings=settings, precision="int4", force=True, **options
    )
    assert hard.manifest.engine.precision == "fp32"
    assert any("evaluate()" in note for note in read(hard.path)["notes"])
    with pytest.raises(VerificationError, match="perplexity"):
        edgepress.export(
            model / "tale",
            target="server-cpu",
            precision="int4",
            evaluate=lambda predict: 1.0,
            weight_settings=edgepress.WeightSettings(rounding="nearest", uniform=True),
            budget={"perplexity_rise": "0.000001", "accuracy_drop": "1"},
            measure=False,
            output=model / "never",
        )


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("def model(): return 'tale'\ndef inputs(): return {}", ("inputs()", "only evaluate() is used")),
        ("def model(): return 'absent'", ("'absent'", "no model that writes text")),
        ("def model(): return 'tale'\ndef evaluate(p): return p({'input_ids': [[384]]})", ("token 384", "0 to 383")),
        ("def model(): return 'tale'\ndef evaluate(p): return len(p.write([1], 999))", ("1000 tokens", "192")),
    ],
)
def test_a_file_at_fault_is_one_message(model: Path, cli: Cli, code: str, words: tuple[str, ...]) -> None:
    (model / "hits.py").write_text(code)
    cli("export", "hits.py", "-t", "server-cpu", *QUICK).failed(1, *words)
    assert not (model / "dist").exists()


def test_a_model_that_writes_text_takes_no_parts_of_another_kind(model: Path) -> None:
    with pytest.raises(InputError, match="`loss`"):
        edgepress.export(model / "tale", target="server-cpu", loss=lambda *_: 0.0, evaluate=lambda predict: 1.0)
