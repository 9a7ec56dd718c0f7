"""A model in a Python file or importable module: functions by name, `model()` and `inputs()` required."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import re
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ...backends.base import Feed
from ...errors import InputError
from . import gguf_file, huggingface
from .base import Source, Training, checked_dynamic, missing, numbered, safe_name
from .checkpoints import loads_watched
from .decoder import DecoderSource
from .foreign import no_source
from .plain import evaluate_taken, evaluating, feeds_taken, float_inputs, not_a_module, unwrapped
from .torch_module import arrays, check_forward, in_forward_order, module_digest
from .traceback import user_errors, user_traceback

if TYPE_CHECKING:
    from torch import nn

# What a file may have beside model() and evaluate(), of a model of one forward.
_OF_NETWORKS = (
    "inputs",
    "dynamic",
    "calibration",
    "training",
    "loss",
    "student",
    "preprocess",
    "postprocess",
)
_START = "`edgepress init` writes a file to start from."


def matches(spec: str) -> bool:
    """A `.py` file, or a dotted module name."""
    return spec.endswith(".py") or re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", spec) is not None


def load(spec: str, trust: bool) -> Source | DecoderSource:
    """Run the file, build its model and run that once; its directory stays importable.

    `preprocess` and `postprocess`, where the file has them, become part of the model. Where `model()` gives a path, a
    model that writes text lies there, and the file has its `evaluate`.

    Args:
        trust: not needed for the file itself: who names it wants it run.

    Raises:
        InputError: the file, one of its functions or the model's forward is at fault.
    """
    from .pipeline import piped

    code = _run_file(Path(spec)) if spec.endswith(".py") else _import(spec)
    file = Path(code.__file__ or spec)
    user = _User(code=code, origin=spec, root=file.parent)
    made = user.built("model")
    if isinstance(made, str | Path):
        return _decoder(user, file, Path(made), trust)
    module, given = _module(user, "model", made), arrays(user.call("inputs"), f"inputs() of {spec}")
    module = piped(module, list(given), user.step("preprocess"), user.step("postprocess"), spec)
    module, inputs = float_inputs(module, in_forward_order(module, given, f"inputs() of {spec}"))
    declared = user.call("dynamic") if user.find("dynamic") else {}
    dynamic = checked_dynamic(declared, inputs, f"dynamic() of {spec}")
    check_forward(module, inputs, spec, user.root)
    return Source(
        name=safe_name(file.stem if spec.endswith(".py") else spec.rpartition(".")[2]),
        kind="python",
        module=module,
        onnx=None,
        inputs=inputs,
        dynamic=dynamic,
        calibration=feeds_taken(user.feeds(), given, inputs),
        evaluate=evaluate_taken(user.find("evaluate"), given, inputs),
        training=user.training(),
        loss=user.find("loss"),
        student=(lambda: _module(user, "student", user.built("student"))) if user.find("student") else None,
        licence=_licence(user),
        digest=module_digest(module, inputs, dynamic, files=(file,)),
    )


class _User:
    """The user's functions; what they raise becomes an `InputError` with their own frames."""

    def __init__(self, *, code: ModuleType, origin: str, root: Path) -> None:
        self.code, self.origin, self.root = code, origin, root

    def find(self, function: str) -> Callable[..., Any] | None:
        found = getattr(self.code, function, None)
        return found if callable(found) else None

    def call(self, function: str) -> Any:
        """The function's result.

        Raises:
            InputError: there is no such function, or it raised.
        """
        found = self.find(function)
        if found is None:
            raise InputError(f"{self.origin} has no function {function}().", hint=_START)
        with user_errors(f"{function}() of {self.origin}", self.root):
            return found()

    def built(self, function: str) -> Any:
        """The result of a function that may load weights.

        Raises:
            InputError: as of `call`, and where it loads none of a file's.
        """
        with loads_watched(self.origin):
            return self.call(function)

    def step(self, name: str) -> object:
        """`preprocess` or `postprocess` as the file has it: not called here, since it is part of the model."""
        return getattr(self.code, name, None)

    def feeds(self) -> Callable[[], Iterable[Feed]] | None:
        """`calibration`, read only when it is iterated.

        Raises:
            InputError: that name is something else than a function.
        """
        if self.find("calibration") is None:
            if (found := getattr(self.code, "calibration", None)) is not None:
                raise InputError(
                    f"{self.origin}: calibration is a {type(found).__name__}; expected a function of that name.",
                    hint="Write `def calibration(): yield {input: array}`, which is read anew each time.",
                )
            return None

        def feeds() -> Iterator[Feed]:
            with user_errors(f"calibration() of {self.origin}", self.root):
                yield from self.code.calibration()

        return feeds

    def training(self) -> Training | None:
        """`training`, read only when it is iterated."""
        function = self.find("training")
        if function is None:
            return None
        passes = numbered(function)

        def training(epoch: int = 0, /) -> Iterable[Any]:
            with user_errors(f"training() of {self.origin}", self.root):
                return passes(epoch)

        return training


def _decoder(user: _User, file: Path, given: Path, trust: bool) -> DecoderSource:
    """The decoder that lies where `model()` says, with the file's own metric.

    Raises:
        InputError: there is none, or the file has a function that would not be used.
    """
    path = given if given.is_absolute() or given.exists() else file.parent / given
    kind = next((each for each in (gguf_file, huggingface) if each.matches(str(path))), None)
    found = None if kind is None else kind.load(str(path), trust)
    if not isinstance(found, DecoderSource):
        raise InputError(
            f"{user.origin}: model() gives {str(given)!r}, where no model that writes text lies.",
            hint="Give the path of a Hugging Face directory or a .gguf file of one; of any other model the module.",
        )
    if unused := [f"{name}()" for name in _OF_NETWORKS if user.find(name)]:
        raise InputError(
            f"{user.origin} has {', '.join(unused)}, and its model() gives a path: of a model that writes text only "
            "evaluate() is used.",
            hint="Leave it out; text to calibrate on goes to --calibration.",
        )
    digest = hashlib.sha256(f"{found.digest} {hashlib.sha256(file.read_bytes()).hexdigest()}".encode()).hexdigest()
    name = safe_name(file.stem)
    return replace(
        found, name=name, digest=digest, evaluate=user.find("evaluate"), licence=_licence(user) or found.licence
    )


def _module(user: _User, function: str, module: object) -> nn.Module:
    from torch import nn

    if not isinstance(module, nn.Module):
        raise not_a_module(f"{user.origin}: {function}() gives", module)
    return evaluating(unwrapped(module, user.origin), user.origin)


def _licence(user: _User) -> str:
    """The model's licence, where the file states one.

    Raises:
        InputError: it is no line of text.
    """
    said = user.call("licence") if user.find("licence") else ""
    if not isinstance(said, str) or len(said.splitlines()) > 1:
        raise InputError(f"licence() of {user.origin} gives {said!r:.60}; expected a name such as 'Apache-2.0'.")
    return said.strip()


def _run_file(path: Path) -> ModuleType:
    """The file as a module of a name of its own, its directory importable as for `python FILE`."""
    if not path.is_file():
        raise missing(str(path))
    path = path.resolve()
    name = f"edgepress_source_{hashlib.sha256(os.fsencode(path)).hexdigest()[:12]}"
    _forget_namesakes(path.parent)
    _importable(path.parent)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} cannot be loaded as Python.")
    code = importlib.util.module_from_spec(spec)
    sys.modules[name] = code
    try:
        spec.loader.exec_module(code)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise InputError(f"{path} fails when it is loaded.\n{user_traceback(error, path.parent)}") from error
    return code


def _import(name: str) -> ModuleType:
    _importable(Path.cwd())
    if _find(name) is None:
        raise missing(f"{name}.py") if Path(f"{name}.py").is_file() else no_source(name)
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise InputError(f"Module {name} fails when it is imported.\n{user_traceback(error)}") from error


def _find(name: str) -> object:
    try:
        return importlib.util.find_spec(name)
    except ModuleNotFoundError:
        return None  # a parent package is not there


def _importable(directory: Path) -> None:
    """Put the directory first, also where an earlier source put it: the last one loaded must find its own files."""
    sys.path[:] = [str(directory), *(entry for entry in sys.path if entry != str(directory))]


def _forget_namesakes(directory: Path) -> None:
    """Drop modules loaded from another source's directory under the name of a file beside this one.

    Two sources in one process may each have a `data.py`; the second must not get the first one's.
    """
    installed = [Path(sysconfig.get_path(key)).resolve() for key in ("stdlib", "purelib", "platlib")]
    for file in directory.glob("*.py"):
        known = getattr(sys.modules.get(file.stem), "__file__", None)
        if known is None or Path(known).resolve() == file:
            continue
        if not any(Path(known).resolve().is_relative_to(place) for place in installed):
            del sys.modules[file.stem]
