"""What the runner of phones does in C++ is what is done here in Python: when a clock is steady, and JSON."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import edgepress
from edgepress.profiles.timing.measure import is_steady

# Reads {"samples": [...], "text": "..."} a line; writes whether they are steady, and the text again.
PROGRAM = """
#include <iostream>
#include "json.hpp"
#include "timing.hpp"
int main() {
  for (std::string line; std::getline(std::cin, line);) {
    const auto asked = json::parse(line);
    std::vector<std::int64_t> samples;
    for (const auto& one : asked.at("samples").list) samples.push_back(one.integer());
    std::cout << timing::steady(samples, 0.03) << json::quoted(asked.at("text").text) << "\\n";
  }
}
"""
LETTERS = '"\\\n\t\x1f\x7fAé画😀'


def test_the_runner_takes_for_steady_what_is_taken_for_it_here(tmp_path: Path) -> None:
    if shutil.which("g++") is None:
        pytest.skip("needs g++")
    (tmp_path / "asked.cpp").write_text(PROGRAM)
    sources = Path(edgepress.__file__).parent / "backends/places/adb/runner"
    words = ["g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", f"-I{sources}", "asked.cpp", "-o", "asked"]
    subprocess.run(words, cwd=tmp_path, check=True)
    draw = np.random.default_rng(0)
    cases = []
    for _ in range(1000):
        spread = draw.choice([0.001, 0.01, 0.05])
        samples = (1000 * (1 + spread * draw.normal(size=int(draw.integers(1, 200))))).astype(int).tolist()
        cases.append({"samples": samples, "text": "".join(draw.choice([*LETTERS], size=5))})
    lines = [json.dumps(case, ensure_ascii=bool(index % 2)) for index, case in enumerate(cases)]
    done = subprocess.run([tmp_path / "asked"], input="\n".join(lines), text=True, capture_output=True, check=True)
    found = [line for line in done.stdout.splitlines() if line]
    wanted = [is_steady(case["samples"], 0.03) for case in cases]
    assert 100 < sum(wanted) < 900, "both are among them"
    assert [line[0] == "1" for line in found] == wanted
    assert [json.loads(line[1:]) for line in found] == [case["text"] for case in cases]
