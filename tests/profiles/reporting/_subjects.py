"""Subjects of reports: values as an export makes them, and latencies that were really taken, of a cheap call."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from edgepress.profiles.budget.verdict import Verdict
from edgepress.profiles.findings.choice import Choice, Contender
from edgepress.profiles.findings.comparison import Comparison, Side
from edgepress.profiles.findings.evidence import Evidence
from edgepress.profiles.findings.gap import Gap
from edgepress.profiles.findings.ladder import Ladder, LadderStep
from edgepress.profiles.findings.language import (
    AtDepth,
    Bandwidth,
    Bits,
    Footprint,
    Language,
    LayerBits,
    Median,
    Rise,
    Speed,
    TextParity,
    TriedMethod,
)
from edgepress.profiles.findings.layers import Layer, coverage
from edgepress.profiles.findings.lineage import LineageStep
from edgepress.profiles.findings.parity import Parity
from edgepress.profiles.findings.profile import ColdStart, Measured, Profile, Setup, SizeSplit, Throughput
from edgepress.profiles.findings.pruning import PrunedGroup, Pruning
from edgepress.profiles.findings.report import Report, Sizes, TaskMetric
from edgepress.profiles.findings.sensitivity import LayerNoise, LayerParity, ParityByLayer, Sensitivity, Trial
from edgepress.profiles.findings.training import Epoch, TrainingRun
from edgepress.profiles.machine.conditions import Conditions
from edgepress.profiles.machine.environment import Machine
from edgepress.profiles.machine.memory import Memory
from edgepress.profiles.reporting.reportable import BundleFindings, Search, Tried
from edgepress.profiles.timing.measure import Settings, measure
from edgepress.profiles.timing.measurement import Interval, Measurement
from edgepress.profiles.timing.ratio import speedup
from edgepress.profiles.timing.turns import Turns, compare_turns

BRIEF = Settings(warmup_seconds=0.02, warmup_count=5, seconds=0.3, samples=300, slice_seconds=0.02)
MACHINE = Machine(processor="A Processor", arch="x86_64", cores=2, isa=("avx2",), system="Linux 6.1, Python 3.11.7")
SIZE = SizeSplit(
    files={"model.xml": 40_000, "model.bin": 440_000}, weights=230_000, layers={"head": 10, "stem": 220_000}
)


PRUNED = PrunedGroup(name="stem", kind="channels", before=32, after=16, loss=0.1, saved=0.01)


def evidence(claim: str, **more: Any) -> Evidence:
    return Evidence(about="engine", claim=claim, **more)


def busy(loops: int) -> int:
    return sum(range(loops))


@cache
def samples() -> dict[str, Measurement]:
    """Interleaved, of work of three sizes."""
    calls = {"engine": lambda: busy(2_000), "fp32": lambda: busy(4_000), "torch": lambda: busy(20_000)}
    return measure(calls, BRIEF)


def layers() -> tuple[Layer, ...]:
    return (
        Layer(name="stem", operator="Convolution", kernel="brg_I8", compute=True, integer=True, microseconds=120.0),
        Layer(name="head", operator="MatMul", kernel="gemm_f32", compute=True, integer=False, reason="its first input "
              "arrives as f32", microseconds=40.0),
        Layer(name="pool", operator="Pooling", kernel="", compute=False, integer=False, microseconds=4.0),
    )  # fmt: skip


def measured_report() -> Report:
    """int8 that was built, proven, examined and measured here."""
    taken = samples()
    ratio = speedup(taken["fp32"], taken["engine"])
    parity = {"output": Parity(sqnr_db=28.2, max_abs=0.337, cosine=0.999, argmax=0.969)}
    contenders = (
        Contender(precision="fp32", accuracy="the model's graph", kept=True, size=990_000, p50=0.2),
        Contender(precision="int8", accuracy="28.2 dB", kept=True, size=480_000, p50=0.1, against="fp32", faster=ratio),
    )
    return Report(
        model="net",
        target="cpu",
        target_title="x86-64 CPU",
        backend="openvino",
        precision="int8",
        evidence=(
            evidence("model.xml was compiled", kind="built", tool="openvino 2026.4", machine=str(MACHINE)),
            evidence("Golden outputs reproduced", kind="measured", tool="openvino 2026.4", machine=str(MACHINE)),
        ),
        parity={"capture": {"output": replace(parity["output"], sqnr_db=float("inf"))}, "engine": parity},
        parity_how="the engine",
        sizes=Sizes(weights_fp32=900_000, weights=230_000, engine_fp32=990_000, engine=480_000),
        machine=MACHINE,
        tools={"openvino": "2026.4"},
        date="2026-01-01T00:00:00+00:00",
        command="edgepress export net.py -t cpu --max-drop 1%",
        coverage=coverage(layers()),
        layers=layers(),
        size=SIZE,
        task=TaskMetric(before=0.99, after=0.985, how="the engine"),
        sensitivity=sensitivity(),
        ladder=ladder(),
        by_layer=ParityByLayer(layers=(LayerParity(layer="stem", operator="Conv", sqnr_db=41.5),), samples=4),
        pruning=Pruning(asked=0.5, macs_before=2_000_000, macs_after=1_000_000, importance="l1", ranked_by="time",
                        multiple=8, groups=(PRUNED,)),
        training=TrainingRun(purpose="recovery", data="its own data", objective=("cross entropy",), planned=1,
                             history=(Epoch(loss=0.5, metric=0.98, seconds=1.0),), before=0.9, best=1, stopped="Done.",
                             broken=False, parameters=10, teacher_parameters=20, processes=1, seconds=1.0, starts=1),
        lineage=(
            LineageStep(what="capture", before="a" * 64, after="b" * 64, by="torch 2.13"),
            LineageStep(what="int8", before="b" * 64, after="c" * 64, beside={"statistics": "d" * 64}),
        ),
        latency={arm: found.latency() for arm, found in taken.items()},
        latency_shape="image (1, 1, 32, 32)",
        before=conditions(2800.0),
        after=conditions(2000.0),
        threads=2,
        faster=ratio,
        choice=Choice(shipped="int8", forced=False, measured=True, because=f"int8 is {ratio} as fast as fp32.",
                      contenders=contenders),
        budget=(Verdict(what="accuracy_drop", limit="1%", found="0.005", status="met"),
                Verdict(what="latency_p50", limit="0.01ms", found="0.1 ms", status="missed"),
                Verdict(what="size", limit="4MB", found="0.48 MB", status="met")),
        peak_memory=600_000_000,
        stage_seconds={"capture": 1.0, "measure": 12.0},
        missing=(Gap(about="parser", why="No parser judged the graph"),),
        notes=("Calibrated on 256 samples.",),
    )  # fmt: skip


def ladder() -> Ladder:
    """Int8 as calibrated missed it, data did not help, one layer in float did, and nothing was trained."""
    ground = LadderStep(name="lifts", title="int8 with smooth", arm="int8 lifts", sqnr_db=17.2, assured_db=16.0,
                        metric=0.95, seconds=1.5)  # fmt: skip
    rounded = replace(ground, name="rounding", title="weights rounded by data", arm="int8 rounding", metric=0.96,
                      said="2 layers rounded by 128 samples")  # fmt: skip
    held = replace(ground, name="float", title="layers in float", arm="int8 float", metric=0.985, left=1, holds=True,
                   shipped=True, said="1 layer (17.2 to 28.2 dB, 2 evaluations)")  # fmt: skip
    absent = LadderStep(name="own", title="a rung of one's own", said="it was not asked for")
    return Ladder(required="20 dB of SQNR", steps=(ground, rounded, absent, held), before=0.99)


def conditions(clock: float) -> Conditions:
    return Conditions(date="now", governor="powersave", clocks={"cpu0": clock}, temperatures={"package": 60.0},
                      load=1.0, counters={"steal": int(3000 - clock), "ticks": int(6000 - clock)},
                      absent={"throttling": "no counter"})  # fmt: skip


def sensitivity() -> Sensitivity:
    worst = LayerNoise(layer="head", operator="MatMul", tensor="activation", own_db=20.0, output_db=18.0, share=0.7,
                       why="an outlier channel", left=True)  # fmt: skip
    other = replace(worst, layer="stem", share=0.2, own_db=40.0, output_db=50.0, why="nothing stands out", left=False)
    trials = (Trial(left=0, predicted_db=17.0, sqnr_db=17.2, metric=None, holds=False),
              Trial(left=1, predicted_db=28.0, sqnr_db=28.2, metric=0.985, holds=True))  # fmt: skip
    return Sensitivity(
        layers=(worst, other), required="20 dB of SQNR", samples=8, probes=4, elsewhere=0.1, trials=trials
    )


def measured() -> BundleFindings:
    return BundleFindings(name="net-cpu", report=measured_report(), samples=samples(), search=search())


def search() -> Search:
    def tried(name: str, ms: float, size: int, quality: float, **more: bool) -> Tried:
        latency = Interval(value=ms, low=0.9 * ms, high=1.2 * ms)
        return Tried(name=name, latency=latency, size=size, quality=quality, **more)

    return Search(
        tried=(tried("int8, 2 threads, 50 % pruned", 0.1, 300_000, 0.98, front=True, chosen=True),
               tried("int8, 2 threads", 0.2, 480_000, 0.985, front=True),
               tried("fp32, 1 thread", 0.9, 990_000, 0.98)),
        quality="task metric", how="Measured in turn.", most_ms=0.5, most_bytes=4_000_000,
    )  # fmt: skip


def unmeasured() -> BundleFindings:
    """What a host that is not the device can say."""
    report = replace(
        measured_report(),
        target="jetson",
        target_title="A Jetson",
        backend="tensorrt",
        evidence=(evidence("The engine is not built here", kind="absent", tool="tensorrt", machine="x"),),
        parity_how="model.onnx run by onnxruntime, not the engine",
        sizes=Sizes(weights_fp32=900_000, weights=900_000),
        coverage=None, layers=(), size=SizeSplit(files={}, weights=900_000), latency={}, faster=None, choice=None,
        before=None, after=None, budget=(), sensitivity=None, ladder=None, by_layer=None, pruning=None, training=None,
        task=None,
        left_float={"head": "too small"},
        missing=(Gap(about="latency", why="Latency was not measured: the engine is not built here."),
                 Gap(about="coverage", why="int8 coverage was not read: the engine is not built here."),
                 Gap(about="engine", why="The engine is not built here. Run there: edgepress build")),
    )  # fmt: skip
    return BundleFindings(name="net-jetson", report=report)


def language() -> Language:
    """A decoder of three kinds of matrix, most of them in 4 bits."""

    def median(value: float) -> Median:
        return Median(value=value, low=0.97 * value, high=1.02 * value, count=9)

    def at(depth: int, read: float, write: float) -> AtDepth:
        return AtDepth(depth=depth, written=33, prefill=median(read), decode=median(write),
                       first_token=median(1e3 * depth / read))  # fmt: skip

    def bits(layer: str, grid: str, share: float, why: str = "") -> LayerBits:
        return LayerBits(layer=layer, grid=grid, weights=331_776, bytes=round(331_776 * share / 8), why=why)

    int4, int8 = "int4 in blocks of 32", "int8 in blocks of 32"
    matrices = [
        *(bits(f"layers.{i}.attention.query", int4, 5.0) for i in range(4)),
        *(bits(f"layers.{i}.feed_forward.down", int8 if i < 1 else int4, 9.0 if i < 1 else 5.0,
               "0.012 nats in 4 bits, the most of all" if i < 1 else "") for i in range(4)),
        bits("head", int8, 9.0, "the table of the embedding, too"),
    ]  # fmt: skip
    return Language(
        context=8192,
        vocabulary=49_152,
        speed=Speed(depths=(at(128, 660, 171), at(1024, 610, 140)), threads=2, processes=3, how="Random prompts"),
        memory=Footprint(weights=86_400_000, read=86_400_000, context=8192, cache=377_487_360, peak=310_000_000,
                         peak_depth=1057, how="Weights are bytes of files"),
        bandwidth=Bandwidth(machine=21.4e9, token=93_050_000, decode=171, how="a stream, the best of 8 passes"),
        parity=TextParity(text="help texts of Python", tokens=4096, agreement=0.953, kl=0.0213, before=14.7,
                          after=15.11, rise=Rise(value=0.41, low=0.33, high=0.5), how="the engine", written=256,
                          same=203),
        bits=Bits(layers=tuple(matrices), how="Chosen by sensitivity to keep 4 % of the perplexity"),
        tried=(TriedMethod(name="AWQ", kept=True, why="it lowers the divergence", measure="KL, nats a token",
                           before=0.034, after=0.0213),
               TriedMethod(name="GPTQ", kept=False, why="it gains less than it costs")),
        device=8 << 30,
        calibration="128 windows of Python's own help texts, as none were given",
    )  # fmt: skip


def decoder() -> BundleFindings:
    """A decoder that was proven on text and timed."""
    report = replace(
        measured_report(), precision="int4", parity={}, latency={}, faster=None, choice=None, before=None, after=None,
        sensitivity=None, ladder=None, by_layer=None, pruning=None, training=None, task=None, coverage=None, layers=(),
        latency_shape="", language=language(),
        budget=(Verdict(what="decode", limit="at least 20tok/s", found="140.0 tok/s", status="met"),
                Verdict(what="perplexity_rise", limit="4%", found="0.41", status="met"),
                Verdict(what="memory", limit="200MB", found="310 MB", status="missed")),
    )  # fmt: skip
    return BundleFindings(name="story-cpu", report=report)


def unmeasured_decoder() -> BundleFindings:
    """One for a device that is not here."""
    found = decoder()
    less = replace(language(), speed=None, bandwidth=None, missing={"speed": "the device is another machine"},
                   memory=replace(language().memory, peak=None, peak_depth=0), tried=())  # fmt: skip
    return replace(found, report=replace(found.report, language=less, budget=()))


def decoder_profile() -> Profile:
    found = replace(language(), parity=None, bits=None, tried=(), calibration="")
    return profile(single_stream=(), offline=(), layers=(), language=found)


def setup() -> Setup:
    return Setup(machine=MACHINE, threads=2, affinity=(0, 1), tools={"openvino": "2026.4"})


def engine(name: str) -> Measured:
    return Measured(name=name, kind="bundle", digest="ab" * 32, target="cpu", precision="int8",
                    runtime="openvino 2026.4", shapes={"image": "1x1x32x32 float32"})  # fmt: skip


def profile(**changes: object) -> Profile:
    found = Profile(
        measured=engine("net-cpu"), setup=setup(), mode="quick", settings=BRIEF, date="now",
        command="edgepress profile x",
        single_stream=(samples()["engine"],),
        offline=(Throughput(batch=4, streams=2, threads=1, windows=(900.0, 1000.0, 1100.0)),),
        cold_start=ColdStart(started=(10, 20), imported=(30, 40), opened=(500, 600), first=(7, 8)),
        memory=Memory(before=10_000_000, opened=90_000_000, steady=95_000_000, peak=120_000_000),
        size=SIZE, layers=layers(), before=conditions(2800.0), after=conditions(2790.0),
        missing={"energy": "no counter"},
    )  # fmt: skip
    return replace(found, **changes)  # type: ignore[arg-type]


def comparison() -> Comparison:
    """Real turns of real work, B the faster."""

    def turn(loops: int) -> tuple[int, ...]:
        taken = []
        for _ in range(3):
            begin = time.perf_counter_ns()
            busy(loops)
            taken.append(time.perf_counter_ns() - begin)
        return tuple(taken)

    pairs = tuple(
        Turns(a=tuple(turn(4_000) for _ in range(20)), b=tuple(turn(2_000) for _ in range(20))) for _ in range(5)
    )
    taken = samples()
    sides: Mapping[str, Side] = {
        name: Side(measured=engine(name), latency=taken[arm].latency(), size=size)
        for name, arm, size in (("net-fp32", "fp32", 990_000), ("net-int8", "engine", 480_000))
    }
    return Comparison(a=sides["net-fp32"], b=replace(sides["net-int8"], absent={"task metric": "no evaluate()"}),
                      outcome=compare_turns(pairs), setup=setup(), date="now", command="edgepress compare a b",
                      seconds=1.0, pairs=pairs)  # fmt: skip
