"""A bare loop around a runtime, with nothing of edgepress: it answers to turns as a measuring process does.

Its arguments: onnxruntime or openvino, the model, an .npz with its inputs, threads, cores separated by commas.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable


def main() -> None:
    """Open the model and answer `settle count` lines with lists of nanoseconds."""
    runtime, model, feed, threads, cores = sys.argv[1:]
    os.sched_setaffinity(0, [int(core) for core in cores.split(",")])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    call = {"onnxruntime": _onnxruntime, "openvino": _openvino}[runtime](model, feed, int(threads))
    call()
    print("ready", file=answers, flush=True)
    clock = time.perf_counter_ns
    for line in sys.stdin:
        settle, count = map(int, line.split())
        for _ in range(settle):
            call()
        taken = []
        for _ in range(count):
            begin = clock()
            call()
            taken.append(clock() - begin)
        print(json.dumps(taken), file=answers, flush=True)


def _onnxruntime(model: str, feed: str, threads: int) -> Callable[[], object]:
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    with np.load(feed) as file:
        inputs = {name: file[name] for name in file.files}
    binding = session.io_binding()  # as onnxruntime_perf_test does: inputs are made once
    for name, array in inputs.items():
        binding.bind_cpu_input(name, array)
    for output in session.get_outputs():
        binding.bind_output(output.name)
    return lambda: (inputs, session.run_with_iobinding(binding))


def _openvino(model: str, feed: str, threads: int) -> Callable[[], object]:
    import numpy as np
    import openvino

    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
    with np.load(feed) as file:
        inputs = {name: file[name] for name in file.files}
    for name, array in inputs.items():
        request.set_tensor(name, openvino.Tensor(array, shared_memory=True))
    return lambda: (inputs, request.infer(share_outputs=True))


if __name__ == "__main__":
    main()
