"""What is begun in a thread is there when it is asked for."""

import threading

import pytest

from edgepress.exporter.sources.beside import beside


def test_a_value_is_computed_meanwhile():
    begun, may_end = threading.Event(), threading.Event()

    def compute():
        begun.set()
        assert may_end.wait(10)
        return 7

    value = beside(compute)
    assert begun.wait(10)
    may_end.set()
    assert value() == 7 == value()


def test_what_went_wrong_is_raised_where_the_value_is_asked_for():
    value = beside(lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        value()
