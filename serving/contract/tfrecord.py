"""TFRecord files without TensorFlow.

A record is its length (uint64), that length's masked CRC-32C, the bytes, and their masked CRC-32C, all
little-endian. The files of the contract hold at most a thousand small records: plain Python is fast enough.
"""

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Union

_LENGTH = struct.Struct("<Q")
_CRC = struct.Struct("<I")
_CASTAGNOLI = 0x82F63B78
_MASK_DELTA = 0xA282EAD8


class RecordError(ValueError):
    """A file is no TFRecord, or is damaged; the message names the file, the place and the mend."""


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (_CASTAGNOLI if value & 1 else 0)
        table.append(value)
    return table


_TABLE = _crc_table()


def masked_crc32c(data: bytes) -> int:
    """Compute the checksum that TFRecord stores.

    Args:
        data: Bytes to check.

    Returns:
        CRC-32C (Castagnoli), rotated and shifted by a constant so that a checksum of checksums stays sound.
    """
    table, crc = _TABLE, 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def write_records(path: Union[str, Path], records: Iterable[bytes]) -> int:
    """Write a TFRecord file.

    Args:
        path: File to write; an existing one is replaced.
        records: Serialized messages.

    Returns:
        Number of records written.
    """
    count = 0
    with Path(path).open("wb") as file:
        for record in records:
            length = _LENGTH.pack(len(record))
            file.write(length + _CRC.pack(masked_crc32c(length)) + record + _CRC.pack(masked_crc32c(record)))
            count += 1
    return count


def read_records(path: Union[str, Path]) -> Iterator[bytes]:
    """Read a TFRecord file record by record.

    Args:
        path: File to read.

    Yields:
        Bytes of each record, in order.

    Raises:
        RecordError: The file is no TFRecord, is cut short, or a checksum does not fit.
    """
    with Path(path).open("rb") as file:
        while header := file.read(_LENGTH.size + _CRC.size):
            place = file.tell() - len(header)
            if len(header) < _LENGTH.size + _CRC.size:
                raise RecordError(f"{path}: truncated record at {place}; write the file again")
            length, crc = header[: _LENGTH.size], header[_LENGTH.size :]
            if _CRC.unpack(crc)[0] != masked_crc32c(length):
                raise RecordError(f"{path}: corrupted record at {place}; write the file again as TFRecord")
            record = file.read(_LENGTH.unpack(length)[0])
            crc = file.read(_CRC.size)
            if len(crc) < _CRC.size:
                raise RecordError(f"{path}: truncated record at {place}; write the file again")
            if _CRC.unpack(crc)[0] != masked_crc32c(record):
                raise RecordError(f"{path}: corrupted record at {place}; write the file again")
            yield record
