"""The program as a child process of edgepress on another machine: `python3 build.py --serve JOB`.

It speaks the protocol of `places.child`: one JSON value a line, first what happened, then an answer to each request.
It builds engines, runs them and times them; what it cannot do it says.
"""

import json
import os
import platform
import sys
import time
from functools import partial
from typing import IO, Any, Callable, Dict, List, Tuple

from .agreement import infer, laid_out
from .arrays import RawArray, packed, read_npz, resized, write_npz
from .building import build
from .clocking import conditions_now, rate_of, resident_bytes, times_of, waits_of
from .driver import Driver
from .kernels import kernels_from_json
from .machine import cpu_model, module_name, power_note
from .orders import BuildError, read_order
from .parsing import log_of, parse, rejections
from .sessions import GivenArray, OpenPlan
from .timing_cache import cache_path

FEED = "feed.npz"  # beside a job that is timed on one input
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
        _tell(answers, {"event": "opened", "at": _now()})
        fed = os.path.join(os.path.dirname(job_file), FEED)
        if os.path.exists(fed):
            child.do_bind(fed)
            _tell(answers, {"event": "first", "at": _now()})
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


_OLD = "A program of the bundle's own runs there, since edgepress itself needs Python 3.10."


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
        self._before, _ = resident_bytes()
        if job["affinity"]:
            os.sched_setaffinity(0, job["affinity"])
        self._job, self._trt, self._plan_name = job, trt, plan_name
        self._log = log_of(trt, _last_words)
        self._plan: Any = None
        empty: Dict[str, GivenArray] = {}
        self._fed: Tuple[Dict[str, GivenArray], List[Any]] = (empty, [])
        self._feed: Dict[str, RawArray] = {}
        self._opened = self._calls = 0

    def open(self) -> None:
        """Open the engine of the job, where it has one."""
        engine = self._job["engine"]
        if self._job["decoder"] or self._job["logits"]:
            raise BuildError("unserved", "A device with Python {} does not run decoders.".format(_python()), _OLD)
        if engine is None:
            return
        self._plan = self._another()
        self._opened, _ = resident_bytes()

    def _another(self) -> OpenPlan:
        """The engine of the job, opened once more."""
        engine = self._job["engine"]
        core = engine["target"]["options"].get("dla_core")
        with open(engine["path"], "rb") as file:
            plan = file.read()
        name = os.path.basename(engine["path"])
        return OpenPlan(self._trt, self._log, plan, Driver(), name, -1 if core is None else core)

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
        return infer(self._plan, _arrays(inputs))

    def do_bind(self, inputs: str) -> None:
        """What is timed from now on: inferences of the arrays in a file."""
        self._feed = _arrays(inputs)
        self._fed = laid_out(self._plan, self._feed)
        self._call()

    def _call(self) -> None:
        self._plan.run(self._fed[0])

    def do_turn(self, settle: int, count: int) -> List[int]:
        """Times of `count` inferences, after `settle` without."""
        for _ in range(settle):
            self._call()
        return times_of(self._call, count=count)

    def do_slice(self, settle_count: int, slice_seconds: float, **_: Any) -> List[int]:
        """Times of one slice in nanoseconds."""
        for _number in range(settle_count):
            self._call()
        taken = times_of(self._call, seconds=slice_seconds)
        self._calls += settle_count + len(taken)
        return taken

    def do_offline(self, batch: int, streams: int, seconds: float, windows: int) -> List[float]:
        """Samples a second in each of some windows, with so many contexts at once."""
        feed = {name: resized(array, batch) for name, array in self._feed.items()}
        plans = [self._another() for _ in range(streams)]
        try:
            fed = [laid_out(plan, feed) for plan in plans]
            calls = [partial(plan.run, given) for plan, (given, _) in zip(plans, fed)]
            rates = [rate_of(calls, batch, seconds / windows) for _ in range(1 + windows)]  # the first only warms up
        finally:
            for plan in plans:
                plan.close()
        if not all(rates):
            raise BuildError("unserved", "The engine failed with {} contexts at once.".format(streams))
        return rates[1:]

    def do_calls(self) -> int:
        """Inferences of all slices so far."""
        return self._calls

    def do_memory(self) -> Dict[str, int]:
        """Resident bytes, as the fields of `Memory`."""
        steady, peak = resident_bytes()
        return {"before": self._before, "opened": self._opened, "steady": steady, "peak": peak}

    def do_layers(self, inputs: str = "") -> List[Dict[str, Any]]:
        """The layers that ran on the arrays in a file, or on what is timed; none where there is no inspector (8.0)."""
        if inputs:
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
        """The cores that so many threads are bound to: the last ones, since the first one serves most interrupts."""
        return sorted(os.sched_getaffinity(0))[-count:]

    def do_waits(self, tasks: str) -> Dict[str, Tuple[int, int]]:
        """What the kernel tells of the threads of a process."""
        return waits_of(tasks)

    def do_conditions(self) -> Dict[str, Any]:
        """How the machine is doing now."""
        return conditions_now()

    def do_meter(self, backend: str) -> Dict[str, str]:
        """Why nothing measures energy."""
        return {"source": "", "absent": "a device with Python {} has no meter that is asked".format(_python())}


def _arrays(path: str) -> Dict[str, RawArray]:
    return {name[len(_AHEAD) :]: one for name, one in read_npz(path).items()}
