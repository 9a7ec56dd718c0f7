"""Rows are worked on in threads: each once, and torch has its threads again behind that."""

import threading

import pytest
import torch

from edgepress.exporter.language import in_parts
from edgepress.exporter.language.in_parts import in_parts as by_parts


@pytest.mark.parametrize(("rows", "columns"), [(1, 7), (3, 1 << 15), (1000, 96), (7, 1 << 19)])
def test_every_row_is_worked_on_once_and_no_part_is_large(rows, columns):
    seen, before = [], torch.get_num_threads()

    def work(part):
        assert (part.stop - part.start) * columns <= max(in_parts.CHUNK, columns)
        seen.extend(range(rows)[part])

    by_parts(rows, columns, work)
    assert sorted(seen) == list(range(rows)) and torch.get_num_threads() == before


def test_within_a_thread_operations_are_not_divided_again_and_an_error_comes_through(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    threads, put_back = {}, []
    monkeypatch.setattr(torch, "set_num_threads", lambda n: put_back.append((threading.current_thread().name, n)))

    def work(part):
        threads[part.start] = threading.current_thread() is not threading.main_thread()
        if part.start:
            raise ValueError("no number")

    with pytest.raises(ValueError, match="no number"):
        by_parts(2, 1 << 16, work)
    assert threads == {0: True, 1: True}
    assert {count for name, count in put_back if name != "MainThread"} == {1} and put_back[-1] == ("MainThread", 2)
