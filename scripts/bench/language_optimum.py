"""optimum-intel on a local directory and a local text, in the peers' environment.

    python language_optimum.py '{"model": DIR, "out": DIR, "fields": {"bits": 4, ...}, "texts": "texts.json"}'

`optimum-cli export openvino` takes the calibration text from a hub only; this does what it does, through the same
classes, with a list of texts. Without fields the weights stay in float32. `shared` is a directory in which the float32
conversion and the statistics of the text are kept for the next setting: the files are the same, the time is not.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    """Convert, compress, and save with the tokenizer in both forms."""
    from optimum.exporters.openvino.convert import export_tokenizer
    from optimum.intel import OVModelForCausalLM, OVWeightQuantizationConfig
    from transformers import AutoTokenizer

    job = json.loads(sys.argv[1])
    fields: dict[str, Any] = dict(job["fields"])
    tokenizer = AutoTokenizer.from_pretrained(job["model"])
    if fields.get("dataset"):
        texts = json.loads(Path(job["texts"]).read_text())
        fields |= {"dataset": texts, "num_samples": len(texts), "tokenizer": job["model"]}
    source, shared = job["model"], job.get("shared")
    if shared:
        source = _converted(OVModelForCausalLM, source, Path(shared) / "float")
        fields |= {"statistics_path": str(Path(shared) / "statistics")} if fields.get("dataset") else {}
    config = OVWeightQuantizationConfig(**fields) if fields else None
    asked = {"quantization_config": config} if config else {"load_in_8bit": False}
    model = OVModelForCausalLM.from_pretrained(source, export=not shared, compile=False, **asked)
    model.save_pretrained(job["out"])
    tokenizer.save_pretrained(job["out"])
    export_tokenizer(tokenizer, job["out"])


def _converted(loader: Any, source: str, kept: Path) -> str:
    """The network in float32 as OpenVINO has it, with the configuration that its loader wants."""
    if not (kept / "openvino_model.xml").exists():
        loader.from_pretrained(source, export=True, compile=False, load_in_8bit=False).save_pretrained(kept)
    return str(kept)


if __name__ == "__main__":
    main()
