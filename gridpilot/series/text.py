"""From bytes to rows of text: encoding, separator, heading, and the lines around a table that are none of it."""

from __future__ import annotations

import contextlib
import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from gridpilot.errors import PriceError

__all__ = ["TextTable", "read_text"]

SEPARATORS: Final = {"\t": "tab", ";": "semicolon", "|": "bar", ",": "comma"}  # the rarer inside fields, the earlier
_OTHER_FORMATS: Final = (
    (b"PK\x03\x04", "a zip archive or an Excel workbook"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook"),
    (b"\x1f\x8b", "compressed by gzip"),
    (b"BZh", "compressed by bzip2"),
    (b"\xfd7zXZ", "compressed by xz"),
    (b"%PDF", "a PDF"),
)
_BOMS: Final = ((b"\xef\xbb\xbf", "UTF-8"), (b"\xff\xfe", "UTF-16-LE"), (b"\xfe\xff", "UTF-16-BE"))
_SAMPLE: Final = 200  # lines
_MOST_AROUND: Final = 40  # lines of titles before a table, and of remarks after it
_DATA: Final = re.compile(r"[-+]?[\d.,]+(e[-+]?\d+)?|\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}.*|\d{8}T\d+.*", re.IGNORECASE)


@dataclass
class TextTable:
    """Rows of text under a heading."""

    names: list[str]
    rows: list[list[str]]  # as long as ``names`` each
    lines: list[int]  # of the file, from 1, in which the rows end
    encoding: str
    separator: str
    notes: list[str] = field(default_factory=list)


def read_text(raw: bytes, where: str) -> TextTable:
    """The table in the bytes of a text file. Raises :class:`~gridpilot.errors.PriceError`, naming the line."""
    text, encoding = _decode(raw, where)
    separator = _separator(text)
    lines, rows = _split(text, separator, where)
    if not rows:
        raise PriceError(f"{where}: has no rows")
    head = _heading(rows, lines, separator, where)
    names = [name.strip() for name in rows[head]]
    while names and not names[-1]:
        names.pop()
    table = TextTable(_distinct(names), [], [], encoding, separator)
    if head:
        table.notes.append(f"{head} lines before the heading are left out" if head > 1 else "a line before the heading is left out")
    end = _footer(rows, head, len(names))
    if end < len(rows):
        table.notes.append(f"the end of the file is left out from line {lines[end]}: {' '.join(rows[end]).strip()[:40]!r}")
    if end > head + 2 and not any(character.isdigit() for cell in rows[head + 1] for character in cell):
        table.notes.append(f"line {lines[head + 1]} is left out, it holds no number: {' '.join(rows[head + 1]).strip()[:40]!r}")
        head += 1
    _fill(table, rows[head + 1 : end], lines[head + 1 : end], where)
    if not table.rows:
        raise PriceError(f"{where}: has no rows under its heading")
    return table


def _decode(raw: bytes, where: str) -> tuple[str, str]:
    for magic, what in _OTHER_FORMATS:
        if raw.startswith(magic):
            raise PriceError(f"{where}: is {what}, expected a CSV or Parquet file; save or unpack it as one")
    for bom, encoding in _BOMS:
        if raw.startswith(bom):
            return _checked(raw[len(bom) :], encoding, where)
    sample = raw[:4000]
    if sample.count(0) > len(sample) // 4 and sample[1::2].count(0) + sample[::2].count(0) > 0:
        odd, even = sample[1::2].count(0), sample[::2].count(0)
        if max(odd, even) > 20 * min(odd, even):
            return _checked(raw, "UTF-16-LE" if odd > even else "UTF-16-BE", where)
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return _checked(raw, "Windows-1252", where)
    return _checked(raw, "UTF-8", where)


def _checked(raw: bytes, encoding: str, where: str) -> tuple[str, str]:
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        raise PriceError(
            f"{where}: cannot be read as text: its encoding is none of UTF-8, UTF-16 and Windows-1252 "
            f"(byte {error.start}); save it as UTF-8"
        ) from None
    if "\0" in text:
        raise PriceError(f"{where}: cannot be read as text: line {text[: text.index(chr(0))].count(chr(10)) + 1} holds a zero byte")
    return text, encoding


def _separator(text: str) -> str:
    """The one that cuts most lines into equally many fields."""
    sample = [line for line in text[:200_000].splitlines()[: _SAMPLE + _MOST_AROUND] if line.strip()]
    shares: dict[str, float] = {}
    for separator in SEPARATORS:
        counts: Counter[int] = Counter()
        with contextlib.suppress(csv.Error):  # quotes that this separator does not follow: it is another
            for row in csv.reader(sample, delimiter=separator, strict=True, skipinitialspace=True):
                counts[len(row)] += 1
        fields, lines = max(counts.items(), key=lambda entry: (entry[1] if entry[0] > 1 else 0, entry[0]), default=(1, 0))
        shares[separator] = lines / max(1, len(sample)) if fields > 1 else 0.0
    best = max(shares.values())
    return next(separator for separator, share in shares.items() if share >= 0.9 * best and (share > 0.0 or separator == ","))


def _split(text: str, separator: str, where: str) -> tuple[list[int], list[list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True, skipinitialspace=True)
    lines, rows = [], []
    try:
        for row in reader:
            if row and (len(row) > 1 or row[0].strip()) and any(row):
                rows.append(row)
                lines.append(reader.line_num)
    except csv.Error as error:
        raise PriceError(f"{where}: line {reader.line_num} cannot be read as csv: {error}") from None
    return lines, rows


def _filled(row: Sequence[str]) -> int:
    """Fields without the empty ones at the end."""
    count = len(row)
    while count and not row[count - 1].strip():
        count -= 1
    return count


def _heading(rows: list[list[str]], lines: list[int], separator: str, where: str) -> int:
    """Index of the heading: the first row that has a name for every field that rows usually fill."""
    usual = Counter(_filled(row) for row in rows[1 : 1 + _SAMPLE] or rows).most_common(1)[0][0]
    head = next((i for i, row in enumerate(rows[:_MOST_AROUND]) if _filled(row) >= usual), 0)
    while head + 2 < len(rows) and lines[head + 1] > lines[head] + 1 and not any(map(str.isdigit, "".join(rows[head + 1]))):
        head += 1  # titles, an empty line, and then the heading
    cells = [cell.strip() for cell in rows[head][: _filled(rows[head])]]
    looks_like_data = [cell for cell in cells if _DATA.fullmatch(cell)]
    dated = any(re.match(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}|\d{8}", cell) for cell in looks_like_data)
    if dated or len(looks_like_data) == len(cells):
        if head:
            names, before = rows[head - 1], lines[head - 1]
            raise PriceError(
                f"{where}: line {lines[head]} has {len(cells)} fields separated by a {SEPARATORS[separator]}, the heading in line {before} "
                f"has {_filled(names)}, expected as many (decimal commas between commas? separate the fields by semicolons)"
            )
        raise PriceError(f"{where}: line {lines[0]} holds {cells[0]!r}, expected a heading with the names of the columns")
    return head


def _footer(rows: list[list[str]], head: int, width: int) -> int:
    """Index after the last row of the table: what follows are remarks and sums, rows that begin with words or are short of fields."""
    usual = Counter(_filled(row) > 1 for row in rows[head + 1 : head + 1 + _SAMPLE])
    if not usual[True]:
        return len(rows)
    pattern = _kind(rows[head + 1]) if len(rows) > head + 1 else ""
    end = len(rows)
    while end > head + 2 and len(rows) - end < _MOST_AROUND:
        row = rows[end - 1]
        words = not re.match(r"\s*[-+]?\d", row[0]) and (_kind(row) != pattern or (_filled(row) < 2 and width > 1))
        if not words:
            break
        end -= 1
    return end


def _kind(row: Sequence[str]) -> str:
    """Which fields of a row begin with a digit; the shape that a remark does not have."""
    return "".join("9" if re.match(r"\s*[-+]?[.,]?\d", cell) else "-" if not cell.strip() else "a" for cell in row)


def _fill(table: TextTable, rows: list[list[str]], lines: list[int], where: str) -> None:
    width = len(table.names)
    usual = min(width, Counter(len(row) for row in rows).most_common(1)[0][0]) if rows else width
    surplus = 0
    for row, line in zip(rows, lines, strict=True):
        count = len(row)
        if count != width:
            if count > width:
                if any(cell.strip() for cell in row[width:]):
                    raise PriceError(
                        f"{where}: line {line} has {count} fields, the heading {width}; the surplus "
                        f"begins with {row[width]!r} after column {table.names[-1]!r}, expected as many fields as names"
                    )
                surplus += 1
                row = row[:width]
            elif count < usual:
                raise PriceError(
                    f"{where}: line {line} has {count} fields, expected {width} as in the heading; is the file cut off?"
                )
            else:
                row = row + [""] * (width - count)
        table.rows.append(row)
        table.lines.append(line)
    if surplus:
        table.notes.append(f"{surplus} lines have empty fields after the last column, which are left out")


def _distinct(names: list[str]) -> list[str]:
    seen: Counter[str] = Counter()
    result = []
    for number, name in enumerate(names, 1):
        name = name or f"column {number}"
        seen[name] += 1
        result.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return result
