"""optimum-intel on a local directory and a local text, in the peers' environment.

    python language_optimum.py '{"model": DIR, "out": DIR, "fields": {"bits": 4, ...}, "texts": "texts.json"}'

`optimum-cli export openvino` takes the calibration text from a hub only; this does what it does, through the same
classes, with a list of texts. Without fields the weights stay in float32.
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
    config = OVWeightQuantizationConfig(**fields) if fields else None
    asked = {"quantization_config": config} if config else {"load_in_8bit": False}
    model = OVModelForCausalLM.from_pretrained(job["model"], export=True, compile=False, **asked)
    model.save_pretrained(job["out"])
    tokenizer.save_pretrained(job["out"])
    export_tokenizer(tokenizer, job["out"])


if __name__ == "__main__":
    main()
