"""A decoder of 1.1 billion random weights, TinyLlama's shape, exported and verified: time, size and peak of memory.

    python scripts/bench/language_large.py DIR                     # int4, to the nearest
    python scripts/bench/language_large.py DIR --precision fp32

It needs 7 GB of disk under DIR, for fp32 16. Random weights say nothing of quality; the question is whether a model
that is large for the machine gets through, and with what memory, beside the 4.4 GB that its weights are in float32.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from language_tools import MB, engine, sizes, waited

_EDGEPRESS = "import sys; from edgepress.exporter.cli import main; sys.exit(main())"


def main() -> None:
    """Make the directory once, export it, verify the bundle, and print what each took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home", type=Path)
    parser.add_argument("--precision", default="int4")
    parser.add_argument("--target", default="server-cpu")
    given = parser.parse_args()
    model = given.home.resolve() / "large"
    # Linux counts the parent's resident memory as its child's: who makes the weights may not start what is measured.
    with ProcessPoolExecutor(1, get_context("spawn")) as other:
        floats = other.submit(made, model).result() * 4 / MB
    out = given.home.resolve() / f"out-{given.target}-{given.precision}"
    asked = [str(model), "--target", given.target, "--precision", given.precision, "--rounding", "nearest"]
    run("export", [*asked, "--no-measure", "--output", str(out)], floats)
    directory = engine(out)
    print(f"engine {sizes(directory, 'openvino' if given.target == 'cpu' else 'onnxruntime')}")
    run("verify", [str(directory.parent)], floats)


def made(model: Path) -> int:
    """Write the directory unless it is there; how many weights it has."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=32000,
        hidden_size=2048,
        intermediate_size=5632,
        num_hidden_layers=22,
        num_attention_heads=32,
        num_key_value_heads=4,
        max_position_embeddings=2048,
        tie_word_embeddings=False,
        dtype="bfloat16",
    )
    with torch.device("meta"):
        count = sum(weight.numel() for weight in LlamaForCausalLM(config).parameters())
    if not (model / "config.json").exists():
        torch.manual_seed(0)
        torch.set_default_dtype(torch.bfloat16)
        LlamaForCausalLM(config).save_pretrained(model)
        torch.set_default_dtype(torch.float32)
    return count


def run(command: str, arguments: list[str], floats: float) -> None:
    """Run edgepress in a process of its own; what it took. The peak is of resident memory, mapped files included.

    Args:
        floats: MB of the weights in float32.
    """
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", _EDGEPRESS, command, *arguments])
    status, usage = waited(process)
    peak = usage.ru_maxrss * 1024 / MB
    said = {
        "command": command,
        "status": status,
        "seconds": round(time.perf_counter() - began, 1),
        "processor_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_mb": round(peak),
        "float32_mb": round(floats),
        "peak_over_float32": round(peak / floats, 3),
        "load": round(os.getloadavg()[0], 1),
    }
    print(json.dumps(said), flush=True)
    if status:
        raise SystemExit(status)


if __name__ == "__main__":
    main()
