"""Bundles of decoders, and a runtime of another package that reads and writes tokens at a speed that it is told.

What is measured is known then: a rate that counts a token too many, or the wrong ones, is off by more than any noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgepress.backends.base import TensorSpec
from edgepress.exporter.bundle.manifest import (
    Bundle,
    EngineEntry,
    LanguageEntry,
    Manifest,
    MeasuredEntry,
    ModelEntry,
    hash_files,
    load_bundle,
    write_manifest,
)
from edgepress.profiles.device.target import Target, load_target
from edgepress.profiles.findings.files import json_text
from edgepress.profiles.findings.language import Footprint, Language
from edgepress.profiles.findings.report import Report, Sizes
from edgepress.profiles.machine.environment import this_machine

# Registered as an installed package would be. It sleeps, so that no other process changes how long it takes by much.
BACKEND = """
import os
import time

from edgepress.backends.base import Availability
from edgepress.backends.decoding import Generation
from edgepress.backends.onnxruntime import OnnxRuntime
from edgepress.errors import UnservedError


class Spoken(OnnxRuntime):
    name = "spoken"
    modules = ()

    def available(self):
        return Availability(version="spoken 1.0", compile=True, run=True)

    def generate(self, engine, threads=None):
        options = engine.target.options
        if options.get("then") == "not-installed":
            raise UnservedError("spoken-genai is not installed.", hint="pip install spoken-genai")
        return Speaker(options)


class Speaker(Generation):
    def __init__(self, options):
        self.options, self.seen, self.runs = options, set(), 0

    def encode(self, text):
        return [ord(letter) % 64 for letter in text]

    def prompt(self, messages):
        if self.options.get("then") == "no-template":
            return None
        return "".join(f"<{one['role']}>{one['content']}" for one in messages)

    def run(self, prompt, most, each):
        self.runs += 1
        if self.options.get("then") == "crash" and self.runs > self.options["after"]:
            os.abort()
        # As a library does that keeps the cache of the last prompt.
        known, prompt = tuple(prompt) in self.seen, tuple(prompt)
        self.seen.add(prompt)
        time.sleep(0 if known else len(prompt) * self.options["read_us"] / 1e6)
        for token in range(most - (self.options.get("then") == "short")):
            if token:
                time.sleep(self.options["write_us"] / 1e6)
            each(token)

    def write(self, prompt, most, each, sampling):
        words = ["one ", "two ", "three ", "four "][: most]
        for word in words:
            each(word)
            if self.options.get("then") == "endless":
                time.sleep(60)
        return len(words)
"""
TARGET = """
name = "spoken"
title = "a CPU with a runtime that speaks"
arch = "any"
backend = "spoken"
precisions = ["fp32"]
toolchain = "onnxruntime-1.31"

[options]
read_us = {read_us}
write_us = {write_us}
then = "{then}"
after = {after}
"""
SPEC = TensorSpec(name="tokens", dtype="int64", shape=("batch", "count"))


def install_spoken(directory: Path) -> Path:
    """Put the runtime where PYTHONPATH finds it, entry point included; returns that folder."""
    site = directory / "site"
    (site / "spoken-1.0.dist-info").mkdir(parents=True)
    (site / "spoken.py").write_text(BACKEND)
    (site / "spoken-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: spoken\nVersion: 1.0\n")
    (site / "spoken-1.0.dist-info" / "entry_points.txt").write_text("[edgepress.backends]\nspoken = spoken:Spoken\n")
    return site


def spoken_target(directory: Path, *, read_us: int, write_us: int, then: str = "", after: int = 1 << 40) -> Target:
    """A target of that runtime: how long a token takes to read and to write, and what goes wrong."""
    path = directory / f"spoken-{read_us}-{write_us}-{then}.toml"
    path.write_text(TARGET.format(read_us=read_us, write_us=write_us, then=then, after=after))
    return load_target(str(path))


def decoder_bundle(directory: Path, target: Target, files: Mapping[str, bytes], opened: str, **more: Any) -> Bundle:
    """A bundle around the files of an engine.

    Args:
        opened: the file of these that the runtime opens.
        more: fields of `LanguageEntry`, and `memory` of its report.
    """
    memory: Footprint | None = more.pop("memory", None)
    (directory / "engine").mkdir(parents=True)
    for name, data in files.items():
        (directory / "engine" / name).write_bytes(data)
    entry = replace(
        LanguageEntry(context=2048, vocabulary=64, tokenizer=True, golden=1, fp32_nats=0.1, own_nats=0.1), **more
    )
    report = _report(target, entry, memory)
    (directory / "report.json").write_text(json_text(report))
    reproducible, measured = hash_files(directory)
    manifest = Manifest(
        model=ModelEntry(name="story", source_kind="decoder", source_digest="a" * 64, graph_digest="b" * 64, opset=21,
                         inputs=(SPEC,), outputs=(SPEC,)),
        target=target,
        recipe={},
        engine=EngineEntry(backend=target.backend, precision="fp32", path=f"engine/{opened}"),
        minimum_sqnr_db=0.0,
        language=entry,
        files=reproducible,
        measured=MeasuredEntry(date=report.date, evidence=(), metrics={}, environment={}, files=measured),
    )  # fmt: skip
    write_manifest(directory, manifest)
    return load_bundle(directory)


def _report(target: Target, entry: LanguageEntry, memory: Footprint | None) -> Report:
    return Report(
        model="story",
        target=target.name,
        target_title=target.title,
        backend=target.backend,
        precision="fp32",
        evidence=(),
        parity={},
        parity_how="",
        sizes=Sizes(weights_fp32=4000, weights=1000, engine=1000),
        machine=this_machine(),
        tools={},
        date="2026-01-01T00:00:00+00:00",
        command="edgepress export story",
        language=Language(context=entry.context, vocabulary=entry.vocabulary, memory=memory),
    )
