"""One evaluator for every directory: perplexity, KL divergence and agreement of tokens against FP32 torch.

The network is run by its own runtime, window by window, on an empty cache. `weights` judges what the integers stand
for: float32 arithmetic, no rounding of activations or of the cache. `runs` judges what a person gets: the file as it
is, and the runtime's defaults.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from language_text import evaluation_windows
from language_tools import COUNTED, graph
from numpy.typing import NDArray

Logits = Callable[[NDArray[np.int64]], NDArray[np.float32]]
THREADS = 2
SEGMENT = 64  # neighbours whose losses hang together are drawn together


def reference(model: Path, kept: Path) -> None:
    """Log-probabilities of FP32 torch, float32 (windows, positions, vocabulary), and the windows; made once."""
    import torch
    from transformers import AutoModelForCausalLM

    if (kept / "windows.npy").exists():
        return
    kept.mkdir(parents=True, exist_ok=True)
    rows = evaluation_windows(model)
    torch.set_num_threads(THREADS)
    network = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    with torch.inference_mode():
        for index, row in enumerate(rows):
            logits = network(torch.from_numpy(row[None]), use_cache=False).logits[0]
            np.save(kept / f"{index}.npy", logits.log_softmax(-1).numpy())
    np.save(kept / "windows.npy", rows)


def judge(directory: Path, kept: Path, how: str) -> dict[str, Any]:
    """Figures of one directory.

    Returns:
        `perplexity` and that of FP32; `rise` of it, 0.1 is 10 %, and its 95 % interval from drawing segments of 64
        tokens with return; `kl`, nats a token; `agreement`, share of positions with FP32's most likely token.
    """
    losses, floats, divergences, same = [], [], [], []
    rows = np.load(kept / "windows.npy")
    with ExitStack() as stack:
        logits = _opened(directory, how, stack)
        for index, row in enumerate(rows):
            truth, found = np.load(kept / f"{index}.npy"), _log_softmax(logits(row[None])[0])
            places = np.arange(len(row) - 1)
            losses.append(-found[places, row[1:]])
            floats.append(-truth[places, row[1:]])
            divergences.append((np.exp(truth) * (truth - found)).sum(-1))
            same.append(truth.argmax(-1) == found.argmax(-1))
    low, high = _interval(np.array(losses) - np.array(floats))
    ours, theirs = (float(np.exp(np.mean(x, dtype=np.float64))) for x in (losses, floats))
    return {
        "perplexity": round(ours, 4),
        "fp32": round(theirs, 4),
        "rise": round(ours / theirs - 1, 5),
        "rise_low": round(low, 5),
        "rise_high": round(high, 5),
        "kl": round(float(np.mean(divergences)), 6),
        "agreement": round(float(np.mean(same)), 5),
    }


def _interval(differences: NDArray[np.float32]) -> tuple[float, float]:
    segments = [part.mean() for row in differences for part in np.array_split(row, len(row) // SEGMENT)]
    drawn = np.random.default_rng(0).choice(segments, (4000, len(segments))).mean(axis=1)
    low, high = np.expm1(np.percentile(drawn, [2.5, 97.5]))
    return float(low), float(high)


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    shifted = logits - logits.max(-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)), np.float32)


def _opened(directory: Path, how: str, stack: ExitStack) -> Logits:
    if (directory / COUNTED).exists():
        return _in_torch(directory)
    path = graph(directory)
    return _on_openvino(path, how) if path.suffix == ".xml" else _on_onnxruntime(path, how, stack)


def _in_torch(directory: Path) -> Logits:
    """What integers stand for that no runtime opens: floats in a plain directory."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(THREADS)
    network = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()

    @torch.inference_mode()
    def run(row: NDArray[np.int64]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = network(torch.from_numpy(row), use_cache=False).logits.numpy()
        return found

    return run


def _on_openvino(path: Path, how: str) -> Logits:
    import openvino

    properties: dict[str, Any] = {"INFERENCE_NUM_THREADS": THREADS, "PERFORMANCE_HINT": "LATENCY"}
    if how == "weights":
        properties |= {"EXECUTION_MODE_HINT": "ACCURACY", "INFERENCE_PRECISION_HINT": "f32"}
        properties |= {"KV_CACHE_PRECISION": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0}
    compiled = openvino.Core().compile_model(path, "CPU", properties)
    names = {name for port in compiled.inputs for name in port.names}
    request = compiled.create_infer_request()

    def run(row: NDArray[np.int64]) -> NDArray[np.float32]:
        request.reset_state()
        feed = {"beam_idx": np.zeros(1, np.int32), **_common(row)}
        request.infer({name: value for name, value in feed.items() if name in names})
        return np.array(request.get_tensor("logits").data, np.float32)

    return run


def _on_onnxruntime(path: Path, how: str, stack: ExitStack) -> Logits:
    import onnxruntime

    if how == "weights":
        path = _exact(path, Path(stack.enter_context(tempfile.TemporaryDirectory(dir=path.parent.parent))))
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, THREADS
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    decoder = json.loads((path.parent / "genai_config.json").read_text())["model"]["decoder"]
    empty = np.zeros((1, decoder["num_key_value_heads"], 0, decoder["head_size"]), np.float32)

    def run(row: NDArray[np.int64]) -> NDArray[np.float32]:
        common = _common(row)
        feed = {port.name: common.get(port.name, empty) for port in session.get_inputs()}
        feed |= {port.name: common[port.name] for port in session.get_overridable_initializers()}
        return np.asarray(session.run(["logits"], feed)[0], np.float32)

    return run


def _common(row: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    places = np.arange(row.shape[1])
    given = {"input_ids": row, "attention_mask": np.ones_like(row), "position_ids": places[None]}
    # Edgepress's graphs give logits of the last token alone unless they are asked for more.
    return {**given, "before_last": places[::-1, None].copy()}


def _exact(path: Path, directory: Path) -> Path:
    """The same graph with float32 activations in its products with integers."""
    import onnx

    model = onnx.load(path, load_external_data=False)
    for node in (node for node in model.graph.node if node.op_type == "MatMulNBits"):
        for attribute in (each for each in node.attribute if each.name == "accuracy_level"):
            attribute.i = 1
    for file in (file for file in path.parent.iterdir() if file.is_file() and file != path):
        (directory / file.name).hardlink_to(file)
    onnx.save(model, directory / path.name)
    return directory / path.name


if __name__ == "__main__":
    print(json.dumps(judge(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])))
