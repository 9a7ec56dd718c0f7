"""edgepress's calibration and int8 against its peers', on the same files and the same samples.

    python scripts/bench/calibration.py prepare
    python scripts/bench/calibration.py time --models digits mobilenet --tools edgepress onnxruntime-minmax --n 64 1024
    python scripts/bench/calibration.py accuracy --models vit --n 256 --schemes x86 arm tensorrt
    python scripts/bench/calibration.py latency --models minilm --n 256

Raw results are appended to .bench/results.jsonl; `render.py` makes the tables. `setup_peers` makes the environments.
"""

from __future__ import annotations

import argparse

from models import MODELS
from tools import TOOLS


def main() -> None:
    """Run one part."""
    options = _options()
    if options.part == "prepare":
        for name in options.models:
            MODELS[name].prepare()
    elif options.part == "time":
        from timing import measure_time

        measure_time(options.models, options.tools, options.n, options.repetitions)
    elif options.part == "accuracy":
        from accuracy import measure_accuracy

        measure_accuracy(options.models, options.tools, options.n[0], options.schemes, options.seeds)
    else:
        from latency import measure_latency

        measure_latency(options.models, options.tools, options.n[0], options.seconds, options.threads)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("prepare", "time", "accuracy", "latency"))
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--tools", nargs="+", choices=TOOLS, default=list(TOOLS))
    parser.add_argument("--n", nargs="+", type=int, default=[256], help="calibration samples")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--schemes", nargs="+", choices=("x86", "arm", "tensorrt"), default=["x86"])
    parser.add_argument("--seeds", type=int, default=3, help="calibration subsets")
    parser.add_argument("--threads", type=int, default=0, help="of a session; default: the runtime's own choice")
    parser.add_argument("--seconds", type=float, default=4.0, help="measured seconds an arm")
    return parser.parse_args()


if __name__ == "__main__":
    main()
