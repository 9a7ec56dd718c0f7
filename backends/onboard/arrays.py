"""Arrays in files, as numpy writes them, without numpy, which JetPack does not bring on every device.

The formats: numpy, `numpy.lib.format` (versions 1 to 3) in a zip archive.
"""

import ast
import struct
import zipfile
from typing import Dict, Iterable, List, NamedTuple

from .orders import BuildError, Dims

# By numpy's name: how its files write the type, and how `struct` does.
_FORMS = {
    "float16": ("<f2", "e"),
    "float32": ("<f4", "f"),
    "float64": ("<f8", "d"),
    "int8": ("|i1", "b"),
    "int16": ("<i2", "h"),
    "int32": ("<i4", "i"),
    "int64": ("<i8", "q"),
    "uint8": ("|u1", "B"),
    "uint16": ("<u2", "H"),
    "uint32": ("<u4", "I"),
    "uint64": ("<u8", "Q"),
    "bool": ("|b1", "?"),
}
_MAGIC = b"\x93NUMPY"


class RawArray(NamedTuple):
    """Elements in C order, little-endian.

    Attributes:
        dtype: numpy's name of it.
    """

    dtype: str
    shape: Dims
    content: bytes

    def numbers(self) -> List[float]:
        """Its elements."""
        code = _FORMS[self.dtype][1]
        return list(struct.unpack("<{}{}".format(len(self.content) // struct.calcsize(code), code), self.content))


def packed(numbers: Iterable[float], dtype: str, shape: Dims) -> RawArray:
    """An array of numbers.

    Raises:
        BuildError: one of them is no number of this type.
    """
    found = list(numbers)
    code = _FORMS[dtype][1]
    whole = [int(one) for one in found] if code in "bhiqBHIQ" else found
    try:
        return RawArray(dtype, shape, struct.pack("<{}{}".format(len(whole), code), *whole))
    except (struct.error, OverflowError):
        raise BuildError("input", "It holds {} to {}; the engine takes {}.".format(min(found), max(found), dtype))


def resized(array: RawArray, batch: int) -> RawArray:
    """The samples of an array repeated or cut along its first axis."""
    one = len(array.content) // array.shape[0]
    content = (array.content * (batch // array.shape[0] + 1))[: one * batch]
    return RawArray(array.dtype, (batch, *array.shape[1:]), content)


def read_npz(path: str) -> Dict[str, RawArray]:
    """The arrays of a file, by name.

    Raises:
        BuildError: it is none, or holds what is no array of numbers.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(".npy")]
            return {name[: -len(".npy")]: _array(archive.read(name)) for name in names}
    except (OSError, ValueError, KeyError, SyntaxError, struct.error, zipfile.BadZipFile) as error:
        raise BuildError("verification", "{} cannot be read: {}.".format(path, error), "Copy the bundle again, whole.")


def _array(data: bytes) -> RawArray:
    if data[:6] != _MAGIC:
        raise ValueError("it does not begin as an array of numpy")
    size, start = (2, 10) if data[6] == 1 else (4, 12)
    end = start + int.from_bytes(data[8 : 8 + size], "little")
    header = ast.literal_eval(data[start:end].decode("latin1"))
    names = [name for name, (written, _) in _FORMS.items() if written == header["descr"]]
    if not names or header["fortran_order"]:
        raise ValueError("arrays of {} are not read here".format(header["descr"]))
    shape, content = tuple(header["shape"]), data[end:]
    count = struct.calcsize(_FORMS[names[0]][1])
    for axis in shape:
        count *= axis
    if len(content) != count:
        raise ValueError("an array of {} bytes has {}".format(count, len(content)))
    return RawArray(names[0], shape, content)


def write_npz(path: str, arrays: Dict[str, RawArray]) -> None:
    """Write arrays by name, so that numpy reads them."""
    with zipfile.ZipFile(path, "w", allowZip64=True) as archive:
        for name, one in arrays.items():
            fields = {"descr": _FORMS[one.dtype][0], "fortran_order": False, "shape": tuple(one.shape)}
            text = repr(fields).encode("latin1")
            text += b" " * (-(len(text) + 11) % 64) + b"\n"
            archive.writestr(name + ".npy", _MAGIC + b"\x01\x00" + struct.pack("<H", len(text)) + text + one.content)
