"""MD5s of many pictures as numbers, 17 bytes each; as strings they would take 300 MB for a whole board.

Text that is not an MD5 is compared by another hash of 128 bits, so that equal numbers always mean equal text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from alti2v.arrays import BoolArray, Int64Array, Uint8Array, Uint64Array

_HEX_DIGITS = 32
_NO_DIGIT = 255
_NULL, _EMPTY, _MD5, _OTHER = range(4)
_DIGIT = np.full(256, _NO_DIGIT, np.uint8)
_DIGIT[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16, dtype=np.uint8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Md5s:
    """A column of MD5s.

    Attributes:
        keys: (n, 2) uint64: the MD5; of null and of empty text 0, of other text another hash.
        form: (n,) uint8: 0 null, 1 empty, 2 MD5, 3 other text.
        others: Text by row, where it is no MD5.
    """

    keys: Uint64Array
    form: Uint8Array
    others: Mapping[int, str] = field(default_factory=dict)

    @property
    def has_text(self) -> BoolArray:
        """(n,) False where the value is null."""
        has_text: BoolArray = self.form != _NULL
        return has_text

    def texts(self, rows: Int64Array) -> list[str]:
        """Return the values of some rows as text, with null as empty text."""
        digits = self.keys[rows].astype(">u8").tobytes().hex()
        forms = self.form[rows].tolist()
        return [
            digits[_HEX_DIGITS * at : _HEX_DIGITS * (at + 1)] if form == _MD5 else self.others.get(row, "")
            for at, (row, form) in enumerate(zip(rows.tolist(), forms, strict=True))
        ]

    def equal(self, rows: Int64Array, others: Md5s, other_rows: Int64Array) -> BoolArray:
        """Compare row by row with another column; null equals empty text."""
        same_key = (self.keys[rows] == others.keys[other_rows]).all(axis=1)
        forms = (np.maximum(column.form[at], _EMPTY) for column, at in ((self, rows), (others, other_rows)))
        is_equal: BoolArray = same_key & np.equal(*forms)
        return is_equal

    def repeated(self, rows: Int64Array) -> tuple[Int64Array, Int64Array]:
        """Find the rows whose text occurred earlier in `rows`; nulls are not compared.

        Returns:
            Positions in `rows`, ascending, and for each the position of the first with the same text.
        """
        high = self.keys[rows, 0]
        order = np.argsort(high, kind="stable")
        is_same = high[order[1:]] == high[order[:-1]]
        of_some = np.zeros(len(rows), np.bool_)
        of_some[order[1:][is_same]] = of_some[order[:-1][is_same]] = True
        del order, is_same
        some = np.flatnonzero(of_some)  # few: only they need the other half of the key
        forms = np.maximum(self.form[rows[some]], _EMPTY)
        whole = np.column_stack([self.keys[rows[some]], forms])
        _, first, number = np.unique(whole, axis=0, return_index=True, return_inverse=True)
        original = first[number.reshape(-1)]
        is_repeated = (original != np.arange(len(some))) & self.has_text[rows[some]]
        return some[is_repeated], some[original[is_repeated]]


def md5s_of(columns: Iterable[pa.Array | pa.ChunkedArray], room: int) -> Md5s:
    """Convert a column of text that comes in parts, of `room` rows in all."""
    keys, form = np.zeros((room, 2), np.uint64), np.zeros(room, np.uint8)
    others: dict[int, str] = {}
    first = 0
    for column in columns:
        part = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        some = slice(first, first + len(part))
        first += len(part)
        is_md5, numbers = _numbers(part)
        keys[some][is_md5] = numbers
        form[some] = np.where(part.is_valid().to_numpy(zero_copy_only=False), _EMPTY, _NULL)
        form[some][is_md5] = _MD5
        for row in np.flatnonzero(~is_md5 & (form[some] == _EMPTY)).tolist():
            if text := part[row].as_py():
                others[some.start + row] = text
                digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
                keys[some.start + row] = np.frombuffer(digest, ">u8")
                form[some.start + row] = _OTHER
    return Md5s(keys=keys, form=form, others=others)


def _numbers(column: pa.Array) -> tuple[BoolArray, Uint64Array]:
    """Return which values are MD5s in lower case, and these as (m, 2) numbers."""
    _, offsets, content = column.buffers()
    bounds = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1].astype(np.int64)
    is_md5 = (np.diff(bounds) == _HEX_DIGITS) & column.is_valid().to_numpy(zero_copy_only=False)
    text = np.frombuffer(content or b"", np.uint8)
    digits = _DIGIT[text[bounds[:-1][is_md5][:, None] + np.arange(_HEX_DIGITS)]]
    is_hex = (digits != _NO_DIGIT).all(axis=1)
    is_md5[is_md5] = is_hex
    packed = np.ascontiguousarray(digits[is_hex, ::2] << 4 | digits[is_hex, 1::2])
    return is_md5, packed.view(">u8").astype(np.uint64)
