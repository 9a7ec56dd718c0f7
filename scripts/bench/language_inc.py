"""neural-compressor's weight-only methods on a local directory and a local text, in the peers' environment.

    python language_inc.py '{"model": DIR, "out": DIR, "method": "gptq", "fields": {"bits": 4, ...}, "texts": FILE}'

With "samples" it reads so many of the texts, and with "head" that method rounds the head, after the rest.

It writes packed integers that its own modules open, on no runtime here; see language_floats.py.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch


def main() -> None:
    """Read the text where the method takes one, round, and write what the integers stand for."""
    from language_floats import save
    from transformers import AutoModelForCausalLM

    job = json.loads(sys.argv[1])
    method, fields = job["method"], dict(job["fields"])
    network = AutoModelForCausalLM.from_pretrained(job["model"], dtype=torch.float32).eval()
    rows = _rows(job)
    rounded = _rounded(network, method, fields, rows)
    if "head" in job:
        rounded = _rounded(rounded, job["head"], {**fields, "quant_lm_head": True}, rows)
    save(rounded, job["model"], job["out"], fields["bits"], fields["group_size"], fields.get("use_sym", False))


def _rounded(network: Any, method: str, fields: dict[str, Any], rows: list[torch.Tensor]) -> Any:
    from neural_compressor.torch import quantization

    config = getattr(quantization, _CONFIGS[method])(**fields)
    example = {"example_inputs": rows[0]} if method in ("awq", "teq") else {}
    prepared = quantization.prepare(network, config, **example)
    for row in rows if method not in ("rtn", "hqq") else ():
        prepared(row)
    return quantization.convert(prepared)


_CONFIGS = {"rtn": "RTNConfig", "hqq": "HQQConfig", "gptq": "GPTQConfig", "awq": "AWQConfig", "teq": "TEQConfig"}


def _rows(job: dict[str, Any]) -> list[torch.Tensor]:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(job["model"])
    texts = json.loads(Path(job["texts"]).read_text())[: job.get("samples")]
    return [tokenizer(text, return_tensors="pt")["input_ids"] for text in texts]


if __name__ == "__main__":
    main()
