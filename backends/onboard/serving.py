"""The program as a child process of edgepress on another machine: `python3 build.py --serve JOB`.

It speaks the protocol of `places.child`: one JSON value a line, first what happened, then an answer to each request.
What it cannot do it says; it builds engines and runs them, and takes no times.
"""

import json
import os
import platform
import sys
import time
from typing import IO, Any, Callable, Dict, List

from .agreement import infer
from .arrays import RawArray, packed, read_npz, write_npz
from .building import build
from .driver import Driver
from .kernels import kernels_from_json
from .machine import cpu_model, module_name, power_mode, power_note, read_system_file
from .orders import BuildError, read_order
from .parsing import log_of, parse, rejections
from .sessions import OpenPlan
from .timing_cache import cache_path

_AHEAD = "array:"  # ahead of each name in a file of arrays
_KINDS = {
    "input": "InputError",
    "refused": "RefusedError",
    "verification": "VerificationError",
    "unserved": "UnservedError",
}


def serve(job_file: str, trt_here: Callable[[], Any], plan_name: str) -> int:
    """Serve a job until standard input ends; returns the exit code.

    Args:
        trt_here: gives the module.
        plan_name: the name of the file that an engine is written to.
    """
    # Nothing but this may write where answers are expected.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    _tell(answers, {"event": "started", "at": _now()})
    try:
        with open(job_file, encoding="utf-8") as file:
            child = Child(json.load(file), trt_here(), plan_name)
        _tell(answers, {"event": "imported", "at": _now()})
        child.open()
        _tell(answers, {"event": "ready", "at": _now()})
    except BuildError as error:
        _tell(answers, _told(error))
        return 1
    for line in sys.stdin:
        _tell(answers, _answered(child, json.loads(line)))
    child.close()
    return 0


def _answered(child: "Child", request: Dict[str, Any]) -> Dict[str, Any]:
    what = request.pop("do")
    try:
        return {"answer": getattr(child, "do_" + what, _not_done(what))(**request)}
    except BuildError as error:
        return _told(error)
    except OSError as error:  # a full disk is no fault of what it works on
        return {"error": error.strerror, "number": error.errno, "file": error.filename, "kind": "OSError"}


def _not_done(what: str) -> Callable[..., Any]:
    def refuse(**_: Any) -> Any:
        raise BuildError("unserved", "A device with Python {} is not asked to {!r}.".format(_python(), what), _OLD)

    return refuse


_OLD = "Engines are built and proven there, and not measured: edgepress itself needs Python 3.10."


def _told(error: BuildError) -> Dict[str, Any]:
    return {"error": error.message, "hint": error.hint or None, "kind": _KINDS[error.kind]}


def _tell(answers: IO[str], value: Any) -> None:
    answers.write(json.dumps(value) + "\n")
    answers.flush()


def _last_words(text: str) -> None:
    """What comes next; who started this reads the last line where it crashes on it."""
    sys.stderr.write(text + "\n")


def _now() -> int:
    return int(time.monotonic() * 1e9)


def _python() -> str:
    return platform.python_version()


class Child:
    """What can be asked of it: each method whose name begins with `do_`, with the arguments of `places.serve`."""

    def __init__(self, job: Dict[str, Any], trt: Any, plan_name: str) -> None:
        self._job, self._trt, self._plan_name = job, trt, plan_name
        self._log = log_of(trt, _last_words)
        self._plan: Any = None

    def open(self) -> None:
        """Open the engine of the job, where it has one."""
        engine = self._job["engine"]
        if self._job["decoder"] or self._job["logits"]:
            raise BuildError("unserved", "A device with Python {} does not run decoders.".format(_python()), _OLD)
        if engine is None:
            return
        core = engine["target"]["options"].get("dla_core")
        with open(engine["path"], "rb") as file:
            plan = file.read()
        name = os.path.basename(engine["path"])
        self._plan = OpenPlan(self._trt, self._log, plan, Driver(), name, -1 if core is None else core)

    def close(self) -> None:
        """Release the engine."""
        if self._plan is not None:
            self._plan.close()

    def do_run(self, inputs: str, outputs: str) -> None:
        """One inference of the arrays in a file; the outputs go into another, in the types of the engine's specs."""
        wanted = {spec["name"]: spec["dtype"] for spec in self._job["engine"]["outputs"]}
        found = {}
        for name, one in self._inferred(inputs).items():
            dtype = wanted.get(name, one.dtype)
            found[_AHEAD + name] = one if one.dtype == dtype else packed(one.numbers(), dtype, one.shape)
        write_npz(outputs, found)

    def _inferred(self, inputs: str) -> Dict[str, RawArray]:
        feed = {name[len(_AHEAD) :]: one for name, one in read_npz(inputs).items()}
        return infer(self._plan, feed)

    def do_layers(self, inputs: str) -> List[Dict[str, Any]]:
        """The layers that ran on the arrays in a file; none where TensorRT has no inspector (8.0)."""
        self._inferred(inputs)
        text = self._plan.information()
        found = []
        for layer in kernels_from_json(text) if text else []:
            fields = dict(layer._asdict())
            fields.pop("precision")
            found.append(fields)
        return found

    def do_check(self, graph: Dict[str, Any], target: Any) -> List[Dict[str, str]]:
        """The nodes that the parser refuses."""
        return [dict(one._asdict()) for one in rejections(parse(self._trt, graph["path"], self._log))]

    def do_compile(self, graph: Dict[str, Any], order: str, directory: str) -> Dict[str, Any]:
        """Build what is ordered into a directory; the notes of the engine."""
        gpu = Driver().gpu
        cache = cache_path(gpu.key(), str(self._trt.__version__), gpu.driver)
        built = build(self._trt, read_order(order), graph["path"], self._log, cache)
        with open(os.path.join(directory, self._plan_name), "wb") as file:
            file.write(built.plan)
        about = "Built by tensorrt {} on the device, by a program of its own: its Python is {}.".format(
            self._trt.__version__, _python()
        )
        notes = [about, power_note(), *built.notes]
        return {"plan": self._plan_name, "notes": [note for note in notes if note]}

    def do_runtime(self, target: Any) -> Dict[str, Any]:
        """What TensorRT says of itself here."""
        try:
            Driver()
            reason, remedy = "", ""
        except BuildError as error:
            reason, remedy = error.message.rstrip("."), error.hint
        here = not reason
        version = "tensorrt {}".format(self._trt.__version__)
        available = {"version": version, "compile": here, "run": here, "reason": reason, "remedy": remedy}
        return {"available": available, "obstacle": reason, "native_float": "fp32"}

    def do_tools(self) -> Dict[str, str]:
        """Versions of what decides a figure."""
        return {"tensorrt": str(self._trt.__version__)}

    def do_machine(self) -> Dict[str, Any]:
        """The machine, as edgepress describes one."""
        return {
            "processor": module_name() or cpu_model() or "unknown processor",
            "arch": platform.machine(),
            "cores": len(os.sched_getaffinity(0)),
            "isa": [],
            "system": "{} {}, Python {}".format(platform.system(), platform.release().split("-")[0], _python()),
        }

    def do_cores(self, count: int) -> List[int]:
        """The cores that so many threads are bound to: the system's choice."""
        return []

    def do_meter(self, backend: str) -> Dict[str, str]:
        """Why nothing measures energy."""
        return {"source": "", "absent": "a device with Python {} is not measured".format(_python())}

    def do_conditions(self) -> Dict[str, Any]:
        """How the machine is doing now, as far as one looks at it without taking times."""
        load = read_system_file("/proc/loadavg").split()
        return {
            "date": time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime()),
            "power_mode": power_mode().get("name", ""),
            "load": float(load[0]) if load else None,
        }
