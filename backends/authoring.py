"""What the author of a backend needs beside `base`, for packages of their own: this module is theirs to rely on.

availability        whether a runtime of a Python package is installed, found without importing it
import_or_explain   import it inside a function, and say so where that fails
fit                 whether a feed is what an engine takes
refusal             the error for a graph that a compiler does not take
read_nodes          the nodes of an ONNX file, without the onnx package
copy_graph          a graph with its external data, to where the engine is
"""

from __future__ import annotations

from ._onnxfile import Node, copy_graph, read_nodes
from ._vendor import availability, fit, import_or_explain, refusal

__all__ = ["Node", "availability", "copy_graph", "fit", "import_or_explain", "read_nodes", "refusal"]
