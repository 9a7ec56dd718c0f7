"""A decoder on the page: what it writes at what speed, what its text lost, how many bits its weights have."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ..findings.language import (
    AtDepth,
    Bandwidth,
    Bits,
    Footprint,
    Language,
    LayerBits,
    Median,
    Speed,
    TextParity,
    TriedMethod,
)
from ..findings.report import megabytes
from .content import HUES, Bar, Bars, Block, Hue, Section, Sentences, Table, Tile, Tone
from .text import code, counted, sentence

DRAWN = 40  # matrices of a plot


def language_sections(found: Language) -> Iterator[Section]:
    """Sections of what is known, in the order in which people ask."""
    why = found.missing
    yield Section(title="Speed of writing", blocks=tuple(_speed(found.speed, found.bandwidth, why.get("speed", ""))))
    if found.parity is not None or "parity" in why:
        yield Section(title="What the text lost", blocks=tuple(_parity(found.parity, why.get("parity", ""))))
    yield Section(title="Memory", blocks=tuple(_memory(found, found.device)))
    if found.bits is not None:
        yield Section(title="Bits of the weights", blocks=tuple(_bits(found.bits)))
    if found.tried or found.calibration:
        yield Section(title="What was tried on the weights", blocks=tuple(_tried(found)))


def _speed(speed: Speed | None, bandwidth: Bandwidth | None, why: str) -> Iterator[Block]:
    if speed is None:
        yield Sentences(items=(f"It was not measured{f': {why}' if why else ''}.",), points=False)
        return
    if len(speed.depths) > 1:
        says = "Tokens a second, median with 95 % interval; longer is faster."
        for title, part in (("Reading a prompt", _prefill), ("Writing", _decode)):
            bars = tuple(_bar(one, part(one)) for one in speed.depths)
            yield Bars(title=f"{title}, by its length" if part is _prefill else f"{title}, by what stands before",
                       says=says, bars=bars)  # fmt: skip
    head = ("tokens before", "prefill, tok/s", "first token, ms", "decode, tok/s", "runs")
    yield Table(title="Speed", head=head, rows=tuple(_depth(one) for one in speed.depths), numbers=(0, 1, 2, 3, 4))
    yield Sentences(items=tuple(_how(speed)))
    if bandwidth is not None:
        yield _bandwidth(bandwidth)


def _prefill(one: AtDepth) -> Median:
    return one.prefill


def _decode(one: AtDepth) -> Median:
    return one.decode


def _bar(one: AtDepth, found: Median) -> Bar:
    name = counted(one.depth, "token")
    return Bar(name=name, value=found.value, text=f"{found} tok/s", low=found.low, high=found.high)


def _depth(one: AtDepth) -> tuple[str, ...]:
    return f"{one.depth:,}", str(one.prefill), str(one.first_token), str(one.decode), str(one.decode.count)


def _how(speed: Speed) -> Iterator[str]:
    yield sentence(speed.how)
    processes = f"{counted(speed.processes, 'fresh process')}".replace("processs", "processes")
    yield (
        f"{processes}, {counted(speed.threads, 'thread')}; prefill counts the tokens of the prompt, decode those that "
        f"are written, without the first: {counted(speed.depths[0].written, 'token')} behind each prompt."
    )
    if speed.unsteady:
        yield f"UNSTABLE, take the figures as an order of magnitude: {sentence(speed.unsteady)}"


def _bandwidth(found: Bandwidth) -> Table:
    rows = (
        ("this machine reads, measured", f"{found.machine / 1e9:.1f} GB/s"),
        ("a token reads, computed from the files", megabytes(found.token)),
        ("so that it writes at most", f"{found.limit:,.1f} tok/s"),
        ("it writes, measured", f"{found.decode:,.1f} tok/s"),
        ("of what the memory allows", f"{found.share:.0%}"),
    )
    return Table(title=f"How far from the limit; {found.how}", head=("", ""), rows=rows, numbers=(1,))


def _parity(found: TextParity | None, why: str) -> Iterator[Block]:
    if found is None:
        yield Sentences(items=(f"It was not compared: {sentence(why)}",), points=False)
        return
    low, high = found.rise.low / found.before, found.rise.high / found.before
    rows = [
        ("perplexity of FP32", f"{found.before:.3f}"),
        ("perplexity of what is shipped", f"{found.after:.3f}"),
        ("its rise, 95 % interval of the paired difference", f"{found.share:+.2%} [{low:+.2%}, {high:+.2%}]"),
        ("same most likely token", f"{found.agreement:.2%}"),
        ("KL divergence from FP32", f"{found.kl:.5f} nats a token"),
    ]
    if found.written is not None and found.same is not None:
        rows.append(("tokens written greedily as FP32 does, from the first on", f"{found.same} of {found.written}"))
    if found.written is not None and found.own is not None:
        rows.append(("of these, likeliest by its own weights in torch", f"{found.own} of {found.written}"))
    title = f"On {counted(found.tokens, 'token')} of {found.text}"
    yield Table(title=title, head=("", ""), rows=tuple(rows), numbers=(1,))
    yield Sentences(items=(f"It ran as: {sentence(found.how)}",), points=False)


def _memory(found: Language, device: int | None) -> Iterator[Block]:
    memory = found.memory
    if memory is None:
        why = found.missing.get("memory", "nobody computed it")
        yield Sentences(items=(f"Not known: {sentence(why)}",), points=False)
        return
    yield Bars(
        title=f"At the full context of {counted(memory.context, 'token')}",
        says="Bytes that it needs." if device is None else "Bytes that it needs, against the memory of the device.",
        bars=tuple(_parts(memory, device)),
    )
    yield Sentences(items=tuple(_memory_words(memory, device)))


def _parts(memory: Footprint, device: int | None) -> Iterator[Bar]:
    yield Bar(name="weights, computed", value=memory.weights, text=megabytes(memory.weights))
    yield Bar(name="keys and values, computed", value=memory.cache, text=megabytes(memory.cache))
    if memory.peak is not None:
        name = f"peak of the process behind {counted(memory.peak_depth, 'token')}, measured"
        yield Bar(name=name, value=memory.peak, text=megabytes(memory.peak), group="second")
    yield Bar(name="all at the full context", value=memory.full, text=megabytes(memory.full), group="third")
    if device is not None:
        yield Bar(name="memory of the device", value=device, text=_gibibytes(device), group="quiet")


def _gibibytes(size: int) -> str:
    """Memory is built in powers of two."""
    return f"{size / 2**30:g} GiB"


def _memory_words(memory: Footprint, device: int | None) -> Iterator[str]:
    yield sentence(memory.how)
    if memory.peak is None:
        yield "The process itself was not measured; the runtime, its buffers and the tokenizer come on top."
    if device is not None:
        share = memory.full / device
        yield f"That is {share:.0%} of the {_gibibytes(device)} that the device has, its system included."


def _bits(found: Bits) -> Iterator[Block]:
    rows = tuple(
        (grid, str(count), f"{weights:,}", megabytes(held), f"{8 * held / weights:.2f}")
        for grid, (count, weights, held) in found.by_grid().items()
    )
    total = (
        "all",
        str(len(found.layers)),
        f"{sum(one.weights for one in found.layers):,}",
        megabytes(sum(one.bytes for one in found.layers)),
        f"{found.mean:.2f}",
    )
    head = ("stored as", "matrices", "weights", "size", "bits a weight")
    yield Table(title="By kind of storage, scales included", head=head, rows=(*rows, total), numbers=(1, 2, 3, 4))
    yield Sentences(items=(sentence(found.how),), points=False)
    groups = {grid: HUES[min(place, len(HUES) - 1)] for place, grid in enumerate(found.by_grid())}
    kinds = list(dict.fromkeys(map(_kind, found.layers)))
    yield _bars(_merged(found.layers, kinds, groups), len(kinds), groups)
    yield Table(
        title="Every matrix",
        head=("matrix", "stored as", "weights", "size", "bits a weight", "why"),
        rows=tuple(
            (code(one.layer), one.grid, f"{one.weights:,}", megabytes(one.bytes), f"{one.bits:.2f}", one.why)
            for one in found.layers
        ),
        numbers=(2, 3, 4),
    )


def _bars(bars: Sequence[Bar], kinds: int, groups: dict[str, Hue]) -> Bars:
    legend: dict[Hue, str] = {}
    for grid, hue in groups.items():
        legend[hue] = f"{legend[hue]}, {grid}" if hue in legend else grid
    says = f"Bits of storage a weight, mean over the layers, {counted(kinds, 'kind')} of matrix."
    return Bars(title="Bits by kind of matrix", says=says, bars=tuple(bars[:DRAWN]), legend=legend)


def _merged(layers: Sequence[LayerBits], kinds: Sequence[str], groups: dict[str, Hue]) -> list[Bar]:
    """A bar for each kind of matrix, `attention.query` of all layers together, in the hue of most of its weights."""
    bars = []
    for kind in kinds:
        own = [one for one in layers if _kind(one) == kind]
        weights = {grid: sum(one.weights for one in own if one.grid == grid) for grid in groups}
        most = max(weights, key=lambda grid: weights[grid])
        mean = 8 * sum(one.bytes for one in own) / sum(one.weights for one in own)
        few, many = min(one.bits for one in own), max(one.bits for one in own)
        text = f"{mean:.2f}" if few == many else f"{mean:.2f} ({few:.1f} to {many:.1f})"
        bars.append(Bar(name=kind, value=mean, text=text, group=groups[most]))
    return bars


def _kind(one: LayerBits) -> str:
    """`attention.query` of `layers.3.attention.query`."""
    return re.sub(r"^layers\.\d+\.", "", one.layer)


def _tried(found: Language) -> Iterator[Block]:
    if found.calibration:
        yield Sentences(items=(sentence(found.calibration),), points=False)
    if found.tried:
        head = ("method", "measured by", "without and with it", "", "why")
        yield Table(title="Methods", head=head, rows=tuple(_method(one) for one in found.tried))


def _method(one: TriedMethod) -> tuple[str, ...]:
    return one.name, one.measure, one.gain, "kept" if one.kept else "not kept", one.why


def text_tile(found: TextParity | None, why: str) -> Tile:
    """What the text lost, as a verdict that nothing was asked of."""
    if found is None:
        details = (sentence(why),) if why else ()
        return Tile(topic="Text", status="absent", label="not compared", found="no perplexity", details=details)
    return Tile(
        topic="Text",
        status="plain",
        label="no limit asked",
        found=f"{found.share:+.1%} perplexity",
        details=(
            f"perplexity {found.said}",
            f"same most likely token {found.agreement:.1%}, KL {found.kl:.4f} nats a token",
            f"on {counted(found.tokens, 'token')} of {found.text}",
        ),
    )


def speed_tile(speed: Speed | None, bandwidth: Bandwidth | None, why: str) -> Tile:
    """How fast it writes, as a verdict that nothing was asked of."""
    if speed is None:
        details = (sentence(why),) if why else ()
        return Tile(topic="Speed", status="absent", label="not measured", found="no figure", details=details)
    one = speed.depths[0]
    looks: tuple[Tone, str] = ("open", "unstable") if speed.unsteady else ("plain", "no limit asked")
    said = [f"behind {counted(one.depth, 'token')}; prefill {one.prefill} tok/s", f"first token {one.first_token} ms"]
    if bandwidth is not None:
        said.append(f"{bandwidth.share:.0%} of what the memory allows")
    return Tile(topic="Speed", status=looks[0], label=looks[1], found=f"{one.decode} tok/s", details=tuple(said))


def memory_tile(found: Footprint | None) -> Tile:
    """What it needs, as a verdict that nothing was asked of."""
    if found is None:
        return Tile(topic="Memory", status="absent", label="not known", found="no figure")
    rest = f"{megabytes(found.full)} at the full context of {counted(found.context, 'token')}"
    if found.peak is None:
        return Tile(topic="Memory", status="plain", label="computed", found=megabytes(found.full), details=(rest,))
    details = (f"peak of the process, measured; {rest}",)
    return Tile(topic="Memory", status="plain", label="no limit asked", found=megabytes(found.peak), details=details)
