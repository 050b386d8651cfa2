"""Protocol buffers' wire format, as far as a Predict call needs it.

Building and reading the messages object by object costs more than the rest of a call; the tests compare
what is written and read here with the message classes.
"""

from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import Any, Optional

import numpy as np

VARINT, BYTES = 0, 2
_FIXED = {1: 8, 5: 4}  # size by wire type
# From here on the fixed cost of numpy's calls pays.
_MANY = 24
_SMALL = tuple(bytes([value]) for value in range(0x80))


class WireError(ValueError):
    """Bytes are no message of the wire format."""


def varint(value: int) -> bytes:
    """Encode a number of zero or more.

    Args:
        value: The number.

    Returns:
        Seven bits a byte, the lowest first.
    """
    if value < 0x80:
        return _SMALL[value]
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def delimited(number: int, payload: bytes) -> bytes:
    """Encode a field of bytes, text or a message.

    Args:
        number: Field number.
        payload: Its content.

    Returns:
        Tag, length and content.
    """
    return varint(number << 3 | BYTES) + varint(len(payload)) + payload


class StringField:
    """Encoder of a repeated field of short texts.

    Args:
        number: Field number, below 16.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._tag = chr(number << 3 | BYTES)
        self._heads = tuple(self._tag + chr(size) for size in range(0x80))
        self._open_head = self._tag + "\0"

    def texts(self, values: Sequence[Any]) -> Optional[bytes]:
        """Encode texts in a few passes of C code, without a step of Python for each.

        Args:
            values: The texts.

        Returns:
            The field; None where a value is no str, takes 128 bytes or more, holds a NUL or is no valid Unicode.
        """
        count = len(values)
        try:
            if count < _MANY:
                heads = self._heads
                text = "".join([heads[len(value)] + value for value in values])
                return text.encode("ascii")
            # Tag and a NUL before each text; the NULs, found again in the bytes, become the lengths.
            head = self._open_head
            data = bytearray((head + head.join(values)).encode("utf-8"))
        except (TypeError, IndexError, UnicodeEncodeError):
            return None
        array = np.frombuffer(data, np.uint8)
        places = np.flatnonzero(array == 0)
        if len(places) != count:
            return None
        sizes = np.empty(count, np.intp)
        np.subtract(places[1:], places[:-1] + 2, out=sizes[:-1])
        sizes[-1] = len(data) - places[-1] - 1
        if sizes.max() > 0x7F:
            return None
        array[places] = sizes
        return bytes(data)

    def any(self, values: list[bytes]) -> bytes:
        """Encode any values.

        Args:
            values: The values.

        Returns:
            The field.
        """
        return b"".join(map(delimited, repeat(self._number), values))


def fields(data: bytes, begin: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Walk through the fields of a message.

    Args:
        data: Bytes that hold the message.
        begin: Where it begins.
        end: Where it ends.

    Yields:
        Field number, wire type, and begin and end of the value; for a varint the value itself and 0.

    Raises:
        WireError: The bytes are no message.
    """
    place = begin
    while place < end:
        tag, place = _read_varint(data, place, end)
        kind = tag & 7
        if kind == VARINT:
            value, place = _read_varint(data, place, end)
            yield tag >> 3, kind, value, 0
            continue
        if kind == BYTES:
            size, place = _read_varint(data, place, end)
        elif kind in _FIXED:
            size = _FIXED[kind]
        else:
            raise WireError(f"wire type {kind} at byte {place}")
        stop = place + size
        if stop > end:
            raise WireError(f"a field of {size} bytes at byte {place} passes the message's end at {end}")
        yield tag >> 3, kind, place, stop
        place = stop


def packed_varints(data: bytes, begin: int, end: int) -> Iterator[int]:
    """Read a packed field of numbers.

    Args:
        data: Bytes that hold the field.
        begin: Where its value begins.
        end: Where it ends.

    Yields:
        The numbers; a negative one as its complement to 2^64.

    Raises:
        WireError: The bytes are no such field.
    """
    while begin < end:
        value, begin = _read_varint(data, begin, end)
        yield value


def _read_varint(data: bytes, place: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while place < end and shift < 70:
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, place
        shift += 7
    raise WireError(f"a number at byte {place} does not end")
