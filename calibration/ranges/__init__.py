"""Range methods: from a histogram to the range of values worth representing; one a file, none needs the data.

One is a function from a `ValueDistribution` to (low, high), found by its entry point; another package may add its own.
"""

from __future__ import annotations

from ...profiles.registry import Registry

METHODS = Registry("edgepress.range_methods", "range method", order=("min-max", "percentile", "entropy", "mse", ...))
