"""The program: `python3 build.py`, beside the order of a bundle, builds its engine, proves it and records how.

It writes `model.plan` and `built.json`. Exit codes: 0 done, 1 the input is at fault, 2 usage, 4 the engine does not
agree with the FP32 model, 5 this machine cannot build it.
"""

import argparse
import hashlib
import importlib
import json
import os
import sys
import time
from typing import Any, Dict, List, NamedTuple, Optional

from .building import Built, build
from .driver import Driver, Gpu
from .kernels import KernelLayer, counted, kernels_from_json
from .machine import clocks, module_name, power_mode, unknowns, versions_here
from .orders import CODES, BuildError, Order, read_order
from .parsing import log_of, title_of
from .proof import Proof, prove, unproven
from .serving import serve
from .sessions import OpenPlan
from .timing_cache import cache_path

PLAN, RECORD = "model.plan", "built.json"
STAND_IN = "stand-in."  # ahead of the names of what a stand-in made


def main(words: Optional[List[str]] = None) -> int:
    """Run it; returns the exit code."""
    given = _arguments(words)
    if given.serve:
        return serve(given.serve, lambda: module_here("tensorrt"), PLAN)
    try:
        _Run(given.directory, given).whole()
    except BuildError as error:
        sys.stderr.write("error: {}\n".format(error.message))
        if error.hint:
            sys.stderr.write("hint: {}\n".format(error.hint))
        return CODES[error.kind]
    return 0


def _arguments(words: Optional[List[str]]) -> Any:
    parser = argparse.ArgumentParser(
        prog="build.py", description="Build the TensorRT engine of a bundle, and prove it."
    )
    here = os.path.dirname(os.path.abspath(sys.argv[0]))
    parser.add_argument("--directory", default=here, help="where build.json lies; by default beside this file")
    parser.add_argument("--output", metavar="DIR", help="where the engine goes; by default beside the order")
    parser.add_argument("--dla", type=int, metavar="CORE", help="core of the DLA that runs what it can")
    parser.add_argument("--workspace", type=int, metavar="MIB", help="scratch memory that a kernel may use")
    parser.add_argument("--no-timing-cache", action="store_true", help="time every kernel anew")
    parser.add_argument("--no-verify", action="store_true", help="do not run the golden inputs")
    parser.add_argument(
        "--stand-in",
        action="store_true",
        help="try the parser and the builder of TensorRT-RTX, on any machine; TensorRT does not open what it builds",
    )
    parser.add_argument("--serve", metavar="JOB", help=argparse.SUPPRESS)  # for edgepress, over SSH
    return parser.parse_args(words)


def module_here(name: str) -> Any:
    """The module of this Python.

    Raises:
        BuildError: it has none that loads.
    """
    try:
        return importlib.import_module(name)
    except (ImportError, OSError, RuntimeError) as error:  # all three occur where a library is missing
        raise BuildError(
            "unserved",
            "{} does not import {}: {}.".format(sys.executable, name, error),
            "On a Jetson: sudo apt install python3-libnvinfer, and use the system's python3.",
        )


class _Seen(NamedTuple):
    """What an engine showed when it ran."""

    layers: List[KernelLayer]
    proof: Proof


class _Run:
    """One build, from the directory that its order lies in."""

    def __init__(self, directory: str, given: Any) -> None:
        self.directory, self.given = directory, given
        changed = {"dla": given.dla, "workspace": given.workspace}
        order = read_order(self._text("build.json"))
        self.order: Order = order._replace(**{name: value for name, value in changed.items() if value is not None})
        self.manifest = self._manifest()
        self.trt = module_here("tensorrt_rtx" if given.stand_in else "tensorrt")

    def whole(self) -> None:
        """Check, build, prove, record.

        Raises:
            BuildError: any of them fails; nothing is written then.
        """
        self._check_files()
        driver = None if self.given.stand_in else Driver()
        gpu = None if driver is None else driver.gpu
        where = "any GPU" if gpu is None else "{} (compute capability {})".format(gpu.name, gpu.capability)
        self._say("Building {} for {} with {}.".format(PLAN, where, title_of(self.trt)))
        begun, before = time.time(), clocks()
        graph = os.path.normpath(os.path.join(self.directory, self.order.graph))
        log = log_of(self.trt)
        built = build(self.trt, self.order, graph, log, self._cache(gpu))
        seconds = time.time() - begun
        for note in built.notes:
            self._say(note)
        seen = self._seen(driver, log, built)
        self._say(seen.proof.said())
        record = self._record(built, gpu, seen)
        record["seconds"] = round(seconds, 3)
        record["machine"]["clocks_mhz"] = {"before": before, "after": clocks()} if before else {}
        record["not_told"] = unknowns(record["machine"])
        self._lay_down(built.plan, record)

    def _seen(self, driver: Optional[Driver], log: Any, built: Built) -> _Seen:
        """Run the engine on this device: its proof, and its layers."""
        if driver is None:
            return _Seen([], unproven("TensorRT-RTX stands in for TensorRT here, and its engine is not run"))
        plan = OpenPlan(self.trt, log, built.plan, driver, PLAN, -1 if self.order.dla is None else self.order.dla)
        try:
            if self.given.no_verify:
                proof = unproven("it was not asked for")
            else:
                proof = prove(plan, os.path.join(self.directory, "..", "golden"), self.manifest)
            text = plan.information()
        finally:
            plan.close()
        if not text:
            self._say("{} has no engine inspector: which kernels run is not known.".format(title_of(self.trt)))
            return _Seen([], proof)
        layers = kernels_from_json(text)
        told = ", ".join("{} {}".format(count, name) for name, count in sorted(counted(layers).items()))
        self._say("Layers that compute, by precision: {}.".format(told or "none"))
        return _Seen(layers, proof)

    def _record(self, built: Built, gpu: Optional[Gpu], seen: _Seen) -> Dict[str, Any]:
        """How the engine came to be; the path of the timing cache is nobody's business."""
        return {
            "order": dict(self.order._asdict()),
            "stand_in": bool(self.given.stand_in),
            "graph": {"sha256": _sha256(os.path.normpath(os.path.join(self.directory, self.order.graph)))},
            "plan": {"sha256": hashlib.sha256(built.plan).hexdigest(), "bytes": len(built.plan)},
            "versions": versions_here(self.trt, None if gpu is None else gpu.driver),
            "machine": {
                "module": module_name(),
                "gpu": None if gpu is None else dict(gpu._asdict()),
                "power_mode": power_mode(),
            },
            "flags": list(built.flags),
            "timing_cache": None
            if built.cache is None
            else {"bytes_before": built.cache.before, "bytes_after": built.cache.after},
            "computed_in_float": [dict(one._asdict()) for one in built.aside],
            "dla": None if built.accelerated is None else dict(built.accelerated._asdict()),
            "layers": [dict(layer._asdict()) for layer in seen.layers],
            "by_precision": counted(seen.layers),
            "golden": seen.proof.recorded(),
            "notes": list(built.notes),
            "warnings": list(built.warnings),
        }

    def _lay_down(self, plan: bytes, record: Dict[str, Any]) -> None:
        ahead = STAND_IN if self.given.stand_in else ""
        self._write(ahead + PLAN, plan)
        self._write(ahead + RECORD, (json.dumps(record, indent=2, sort_keys=True) + "\n").encode())
        size = len(plan) / 1e6
        where = self.given.output or self.directory
        self._say("{0}{1} ({2:.1f} MB) and {0}{3} are in {4}.".format(ahead, PLAN, size, RECORD, where))

    def _check_files(self) -> None:
        """The graph and the golden files are those of the export."""
        for name, entry in self.manifest["files"].items():
            if name.startswith(("model.onnx", "golden/")):
                path = os.path.join(self.directory, "..", name)
                if not os.path.exists(path) or _sha256(path) != entry["sha256"]:
                    raise BuildError("verification", name + " was changed, or is missing.", _AGAIN)

    def _cache(self, gpu: Optional[Gpu]) -> str:
        if gpu is None or self.given.no_timing_cache:
            return ""
        return cache_path(gpu.key(), str(self.trt.__version__), gpu.driver)

    def _manifest(self) -> Dict[str, Any]:
        try:
            found: Dict[str, Any] = json.loads(self._text(os.path.join("..", "manifest.json")))
        except ValueError:
            raise BuildError("verification", "manifest.json is damaged.", _AGAIN)
        return found

    def _text(self, name: str) -> str:
        try:
            with open(os.path.join(self.directory, name), encoding="utf-8") as file:
                return file.read()
        except OSError as error:
            raise BuildError("input", "{} cannot be read: {}.".format(name, error.strerror), _AGAIN)

    def _write(self, name: str, data: bytes) -> None:
        """Whole or not at all."""
        path = os.path.join(self.given.output or self.directory, name)
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path + ".part", "wb") as file:
                file.write(data)
            os.replace(path + ".part", path)
        except OSError as error:
            raise BuildError("unserved", "{} cannot be written: {}.".format(path, error.strerror), "Make room for it.")

    def _say(self, text: str) -> None:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


_AGAIN = "Copy the bundle again, whole."


def _sha256(path: str) -> str:
    found = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            found.update(block)
    return found.hexdigest()
