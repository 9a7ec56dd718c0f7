"""Trains an example once, seeded, and keeps its weights: what every example's ``model()`` goes through."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from edgepress.errors import InputError

Batch: TypeAlias = tuple[dict[str, Tensor], Any]
"""The arguments of one forward pass by input name, and the targets that its loss wants."""

SEED = 20


def trained(
    source: str,
    build: Callable[[], nn.Module],
    training: Callable[[int], Iterable[Batch]],
    loss: Callable[[Tensor, Any], Tensor],
    *,
    epochs: int,
    rate: float = 3e-3,
    key: str = "",
) -> nn.Module:
    """The network of ``build`` with its trained weights, in evaluation mode.

    The first call trains and keeps the weights on disk, later ones load them. Seed and algorithms are fixed,
    but two trainings are not promised to be equal bit for bit. The caller's random state is left as it was.

    Args:
        source: the example's ``__file__``; it names the cached file and is part of its key.
        build: makes the network, with random weights.
        training: gives one epoch's batches, by the number of the epoch.
        loss: turns the network's output and a batch's targets into the scalar to minimise.
        epochs: passes over the training data.
        rate: AdamW's highest learning rate, reached in the first third (one cycle).
        key: whatever else decides the weights.

    Raises:
        InputError: the weights cannot be kept.
    """
    path = cache_file(source, key)
    with seeded():
        net = build()
        if not path.exists():
            _need_writable(path.parent)
            print(f"{Path(source).stem}: training once, weights kept in {path.parent}", file=sys.stderr)
            _fit(net, training, loss, epochs, rate)
            _store(net.state_dict(), path)
    net.load_state_dict(load_file(path))
    return net.eval()


def cache_file(source: str, key: str = "") -> Path:
    """Where the weights of the example ``source`` lie: its name, and a digest of all that decides the weights.

    That is the example's source, the modules of this directory that it imports, this one, and the versions of torch and
    of Python (the text examples read the standard library's docstrings), and ``key``, so an edited example never loads
    stale weights.
    """
    digest = hashlib.sha256(f"{torch.__version__} {platform.python_version()} {key}".encode())
    for file in sorted(_imported(Path(source).resolve()) | {Path(__file__).resolve()}):
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return _cache_directory() / f"{Path(source).stem}-{digest.hexdigest()[:16]}.safetensors"


def _imported(file: Path) -> set[Path]:
    """The file, and the modules beside this one that it imports, directly or not."""
    found, todo = set[Path](), [file]
    while todo:
        one = todo.pop()
        if one not in found:
            found.add(one)
            imports = (node for node in ast.walk(ast.parse(one.read_bytes())) if isinstance(node, ast.ImportFrom))
            beside = (Path(__file__).resolve().with_name(f"{node.module}.py") for node in imports)
            todo.extend(path for path in beside if path.exists())
    return found


def _cache_directory() -> Path:
    """``$EDGEPRESS_CACHE/examples``, else the XDG user cache's ``edgepress/examples``."""
    if own := os.environ.get("EDGEPRESS_CACHE"):
        return Path(own) / "examples"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgepress" / "examples"


@contextlib.contextmanager
def seeded() -> Iterator[None]:
    """A fixed seed and deterministic kernels inside, the caller's state afterwards."""
    before = torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(SEED)
        torch.use_deterministic_algorithms(True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before)


def _fit(
    net: nn.Module,
    training: Callable[[int], Iterable[Batch]],
    loss: Callable[[Tensor, Any], Tensor],
    epochs: int,
    rate: float,
) -> None:
    steps = sum(1 for _ in training(0))
    optimizer = torch.optim.AdamW(net.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, epochs=epochs, steps_per_epoch=steps)
    net.train()
    for epoch in range(epochs):
        for arguments, targets in training(epoch):
            optimizer.zero_grad()
            loss(net(**arguments), targets).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()


def _need_writable(directory: Path) -> None:
    """Said before minutes of training, whose weights would be lost.

    Raises:
        InputError: the directory cannot be made, or no file in it.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise InputError(
            f"The weights of an example cannot be kept in {directory}: {error.strerror}.",
            hint="Set EDGEPRESS_CACHE to a directory that you may write into.",
        ) from error


def _store(weights: dict[str, Tensor], path: Path) -> None:
    """Writes beside the destination, then renames: a reader finds a whole file or none."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    os.close(handle)
    try:
        save_file({name: tensor.contiguous() for name, tensor in weights.items()}, temporary)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
