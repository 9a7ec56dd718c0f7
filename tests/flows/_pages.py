"""The documentation as a list of commands: what stands in its code blocks, and what the page says about each block.

A page says it in HTML comments, which its reader does not see, on the line before a block:

    <!-- file: model.py -->         the block is that file
    <!-- not run: REASON -->        its commands are only parsed: another device, a network, somebody else's data
    <!-- slow: REASON -->           they run with the slow tests only
    <!-- slow page: REASON -->      (anywhere) and so do all of this page
    <!-- code: 3 -->                its last command ends with that code
    <!-- varies: REASON -->         what it prints is not compared
    <!-- first: COMMAND -->         was run before, wherever the block is; repeatable
    <!-- given: digits.py -->       (anywhere) a small model file of that name is there before the page begins, or a
                                    directory of the repository; with a slash, a small language model's directory
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_COMMENT = re.compile(r"<!-- (file|not run|slow|slow page|code|varies|first|given): (.*?) -->")
_FENCE = re.compile(r"( {0,3})```(\w*)")
# In a block of no stated language only these are commands; it may as well be output, or a tree of files.
_OWN = re.compile(r"(?:\$ )?((?:\.venv/bin/)?edgepress (?!turns).*|scripts/\w+.*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command line as it is typed, and what the page shows below it."""

    words: str
    output: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A code block and what its page says about it."""

    line: int
    language: str
    text: tuple[str, ...]
    said: dict[str, str] = field(default_factory=dict)
    first: tuple[str, ...] = ()

    @property
    def commands(self) -> list[Command]:
        """In order; none in a block that is a file."""
        if "file" in self.said or self.language not in ("", "sh", "console"):
            return []
        found: list[Command] = []
        for line in _joined(self.text):
            if (words := self._command(line)) is not None:
                found.append(Command(words=re.split(r"\s{3,}|\s+#", words)[0]))
            elif found and self.language == "console":
                found[-1] = replace(found[-1], output=(*found[-1].output, line))
        return found

    def _command(self, line: str) -> str | None:
        if self.language == "console":
            return line[2:] if line.startswith("$ ") else None
        if self.language == "sh":
            return line if line.strip() and not line.startswith("#") else None
        match = _OWN.match(line)
        return match[1] if match else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page's blocks, and the files that must be there before the first of them."""

    path: Path
    blocks: tuple[Block, ...]
    given: tuple[str, ...]

    @property
    def commands(self) -> list[Command]:
        """Of all blocks."""
        return [command for block in self.blocks for command in block.commands]

    @property
    def files(self) -> list[Block]:
        """The blocks that are files."""
        return [block for block in self.blocks if "file" in block.said]


def pages() -> list[Path]:
    """What a user reads: everything but the records of decisions and of benchmarks."""
    docs = ROOT / "docs"
    return [path for path in sorted([*docs.glob("*.md"), *docs.glob("targets/*.md")]) if "benchmarks" not in path.name]


def load_page(path: Path) -> Page:
    """Read a page."""
    blocks: list[Block] = []
    open_at, language, fence, indent = 0, "", "", ""
    lines: list[str] = []
    said: dict[str, str] = {}
    given: list[str] = []
    first: list[str] = []
    all_slow: dict[str, str] = {}
    previous = ""
    for number, line in enumerate([*path.read_text().splitlines(), ""], 1):
        if fence:
            if line.strip() == fence:
                blocks.append(Block(line=open_at, language=language, text=tuple(lines), said=said, first=tuple(first)))
                fence, lines, said, first = "", [], {}, []
            else:
                lines.append(line.removeprefix(indent))
        elif line.startswith("    ") and (lines or not previous.strip() or previous.startswith("<!--")):
            open_at = open_at if lines else number
            lines.append(line[4:])
        else:
            if lines:
                blocks.append(Block(line=open_at, language="", text=tuple(lines), said=said, first=tuple(first)))
                lines, said, first = [], {}, []
            if match := _FENCE.match(line):
                fence, indent, language, open_at = "```", match[1], match[2], number
            for key, value in _COMMENT.findall(line):
                if key == "given":
                    given.append(value)
                elif key == "first":
                    first.append(value)
                elif key == "slow page":
                    all_slow = {"slow": value}
                else:
                    said = {**said, key: value}
        previous = line
    assert not said and not first, f"{path.name}: {said or first} stands before no block"
    if all_slow:
        blocks = [replace(block, said={**all_slow, **block.said}) for block in blocks]
    return Page(path=path, blocks=tuple(blocks), given=tuple(given))


def _joined(lines: tuple[str, ...]) -> list[str]:
    """Continued lines as one."""
    return re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines()


def shown(documented: tuple[str, ...], printed: str) -> list[str]:
    """The lines of a page that were not printed. Figures may differ; of a table the first column is compared."""
    have = {_comparable(line) for line in printed.splitlines()}
    return [line for line in documented if _comparable(line) not in have and line.strip() not in ("", "[...]")]


def _comparable(line: str) -> str:
    if set(line.strip()) & set("┏┳┓┡╇┩└┴┘━"):
        return ""
    if line.startswith(("│", "┃")):
        line = re.split("[│┃]", line)[1]
    line = re.sub(r"\b(ns|us|ms|s|kB|MB)\b", "UNIT", line)
    return " ".join(re.sub(r"\d[\d.,]*", "N", line).split())
