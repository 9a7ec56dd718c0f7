"""Olive's own passes on a local directory and a local text, in the peers' environment.

    python language_olive.py '{"model": DIR, "out": DIR, "passes": [["Gptq", {"bits": 4, ...}], ...], "texts": FILE}'

The passes run in their order. Passes of ONNX get a directory of onnxruntime-genai's builder, and what they write its
configuration; passes of torch give a directory that Olive's loader opens, see language_floats.py.
Without a data_config a pass takes its text from a hub; those that read one get the list of texts.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from olive.data.registry import Registry

_READ_TEXT = ("AutoClip", "Gptq")


def main() -> None:
    """Run the workflow as `olive run` does, and write what the bench judges."""
    from olive.workflows import run

    job = json.loads(sys.argv[1])
    model, out = Path(job["model"]), Path(job["out"])
    onnx = (model / "genai_config.json").exists()
    source = {"type": "ONNXModel" if onnx else "HfModel", "model_path": str(model / "model.onnx" if onnx else model)}
    passes = {f"{place}_{kind}": _pass(kind, fields) for place, (kind, fields) in enumerate(job["passes"])}
    even = any(kind == "AutoClip" for kind, _ in job["passes"])
    text = {"type": "bench_texts", "params": {"texts": job["texts"], "model": str(model), "even": even}}
    with tempfile.TemporaryDirectory(dir=out.parent) as directory:
        config = {
            "input_model": source,
            "data_configs": [{"name": "texts", "user_script": __file__, "load_dataset_config": text}],
            "passes": passes,
            "cache_dir": f"{directory}/cache",
            "output_dir": f"{directory}/out",
        }
        run(config)
        found = {path.parent for path in Path(f"{directory}/out").rglob("model.onnx" if onnx else "config.json")}
        if len(found) != 1:
            raise SystemExit("Olive wrote no model; its own error stands above")
        (written,) = found
        if onnx:
            shutil.copytree(model, out, ignore=shutil.ignore_patterns("model.onnx*"))
            shutil.copytree(written, out, dirs_exist_ok=True)
            return
        _plain(written, job)


def _plain(written: Path, job: dict[str, Any]) -> None:
    from language_floats import save
    from olive.model import HfModelHandler

    fields = job["passes"][-1][1]
    # By its own loader: it tells transformers of its format, which otherwise leaves its layers with weights by chance.
    rounded = HfModelHandler(model_path=str(written)).load_model().eval()
    save(rounded, job["model"], job["out"], fields["bits"], fields["group_size"], fields["sym"])


def _pass(kind: str, fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": kind, **fields, **({"data_config": "texts"} if kind in _READ_TEXT else {})}


@Registry.register_dataset("bench_texts")
def texts(texts: str, model: str, even: bool) -> list[tuple[dict[str, Any], int]]:
    """Each text in the words of the tokenizer, with a label that nothing reads; `even` cuts all into rows of 512."""
    import torch
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    rows = [tokenizer(text, return_tensors="pt")["input_ids"][0] for text in json.loads(Path(texts).read_text())]
    rows = list(torch.cat(rows).split(512)[:-1]) if even else rows
    return [({"input_ids": row, "attention_mask": torch.ones_like(row)}, 0) for row in rows]


if __name__ == "__main__":
    main()
