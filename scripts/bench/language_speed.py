"""Tokens a second of one directory in its runtime's own library, in the peers' environment and a process of its own.

    python language_speed.py DIR REFERENCE THREADS DEPTH…

Prints one JSON line: `prefill_D`, tokens a second of a prompt of D tokens; `decode_D`, tokens a second after it;
`first_D`, milliseconds to the first token; `peak_mb`, the most resident memory; medians of the repetitions.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

NEW, REPETITIONS = 48, 3
Seconds = tuple[float, list[float]]
"""To the first token, and of each one behind it."""


def on_onnxruntime(directory: Path, threads: int) -> Callable[[list[int], int], Seconds]:
    """onnxruntime-genai, greedy."""
    import onnxruntime_genai as og

    config = og.Config(str(directory))
    options = {"intra_op_num_threads": threads}
    config.overlay(json.dumps({"model": {"decoder": {"session_options": options}}}))
    model = og.Model(config)

    def run(prompt: list[int], new: int) -> Seconds:
        length = len(prompt) + new
        parameters = og.GeneratorParams(model)
        # No word ends the text before its length.
        parameters.set_search_options(max_length=length, min_length=length, do_sample=False)
        generator = og.Generator(model, parameters)
        began = time.perf_counter()
        generator.append_tokens(prompt)
        generator.generate_next_token()
        first = time.perf_counter()
        later = []
        for _ in range(new - 1):
            generator.generate_next_token()
            later.append(time.perf_counter())
        return first - began, list(np.diff([first, *later]))

    return run


def on_openvino(directory: Path, threads: int) -> Callable[[list[int], int], Seconds]:
    """openvino_genai's LLMPipeline as it is by default, greedy."""
    import openvino
    import openvino_genai

    pipeline = openvino_genai.LLMPipeline(str(directory), "CPU", INFERENCE_NUM_THREADS=threads)

    def run(prompt: list[int], new: int) -> Seconds:
        ids = np.array([prompt], np.int64)
        inputs = openvino_genai.TokenizedInputs(openvino.Tensor(ids), openvino.Tensor(np.ones_like(ids)))
        config = openvino_genai.GenerationConfig(max_new_tokens=new, ignore_eos=True, do_sample=False)
        raw = pipeline.generate(inputs, config).perf_metrics.raw_metrics
        return 1e-6 * raw.m_times_to_first_token[0], [1e-6 * duration for duration in raw.m_durations]

    return run


def main() -> None:
    """Measure one directory."""
    directory, reference, threads, *depths = sys.argv[1:]
    tokens = np.load(Path(reference) / "windows.npy").reshape(-1).tolist()
    opened = on_openvino if (Path(directory) / "openvino_model.xml").exists() else on_onnxruntime
    run = opened(Path(directory), int(threads))
    run(tokens[:16], 4)
    found: dict[str, float] = {}
    at = 16
    for depth in map(int, depths):
        # No prompt begins like another: openvino_genai keeps what it has read, and reads only what follows.
        prompts = [tokens[at + depth * each :][:depth] for each in range(REPETITIONS)]
        rounds = [run(prompt, NEW) for prompt in prompts]
        at += depth * REPETITIONS
        first = statistics.median(each[0] for each in rounds)
        later = statistics.median(seconds for each in rounds for seconds in each[1])
        found |= {f"prefill_{depth}": depth / first, f"decode_{depth}": 1 / later, f"first_{depth}": 1e3 * first}
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    found["peak_mb"] = int(peak.split()[1]) * 1024 / 1e6
    print(json.dumps({name: round(value, 2) for name, value in found.items()}))


if __name__ == "__main__":
    main()
