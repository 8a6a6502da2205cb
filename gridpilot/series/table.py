"""Columns of a file, of text or Parquet alike, and the numbers in them."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from gridpilot.errors import PriceError
from gridpilot.series.options import ReadOptions
from gridpilot.series.text import SEPARATORS, read_text
from gridpilot.suggestions import did_you_mean

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MISSING", "Table", "listed", "read_table"]

FloatArray = npt.NDArray[np.float64]

MISSING: Final = frozenset(
    ("", "-", "--", "n/e", "N/E", "n/a", "N/A", "NA", "#N/A", "nan", "NaN", "NAN", "-nan", "null", "NULL", "None", "<NA>")
)  # what stands for an empty field
_SPACES: Final = re.compile("[\u00a0\u202f\u2009' ](?=\\d)")  # between thousands
_POINT: Final = re.compile(r"[-+]?(\d+|\d{1,3}(,\d{3})+)?(\.\d*)?([eE][-+]?\d+)?")
_COMMA: Final = re.compile(r"[-+]?(\d+|\d{1,3}(\.\d{3})+)?(,\d*)?([eE][-+]?\d+)?")
_FRAME: Final = Path("data frame")  # how one is named where files are
_SHOWN: Final = 12  # names in a list


@dataclass
class Table:
    """Columns by name, each ``n`` cells of text, or an array where the file is typed."""

    path: Path
    columns: dict[str, Any]
    lines: Sequence[int] | None  # line of each row, from 1; None where the file has none
    encoding: str
    separator: str
    sha256: str
    rows: Sequence[int] = ()  # number of each row in the file, from 1
    notes: list[str] = field(default_factory=list)
    decimal: str = "."  # of the columns read so far, and of those to be read where they could be either

    @property
    def where(self) -> str:
        """The file, as errors name it."""
        return str(self.path)

    def __len__(self) -> int:
        return len(self.rows)

    def place(self, row: int) -> str:
        """Where row ``row`` (from 0) stands: "row 8 (line 9)"."""
        line = "" if self.lines is None else f" (line {self.lines[row]})"
        return f"row {self.rows[row]}{line}"

    def cells(self, name: str, what: str = "column") -> Any:
        """The cells of a column. Raises :class:`~gridpilot.errors.PriceError` where there is none of that name."""
        if name not in self.columns:
            hint = did_you_mean(name, self.columns)
            raise PriceError(
                f"{self.where}: no {what} {name!r}; {f'{hint} ' if hint else ''}the columns are {listed(map(repr, self.columns))}"
            )
        return self.columns[name]

    def kept(self, mask: npt.NDArray[np.bool_]) -> Table:
        """The rows of ``mask``."""
        index = np.flatnonzero(mask).tolist()
        return self.at(index)

    def at(self, index: Sequence[int]) -> Table:
        """Rows by position."""
        columns = {
            name: cells[list(index)] if isinstance(cells, np.ndarray) else [cells[i] for i in index]
            for name, cells in self.columns.items()
        }
        lines = None if self.lines is None else [self.lines[i] for i in index]
        rows = [self.rows[i] for i in index]
        return Table(self.path, columns, lines, self.encoding, self.separator, self.sha256, rows, self.notes, self.decimal)

    def is_numeric(self, name: str) -> bool:
        """Whether a column holds numbers, empty fields aside, and at least one."""
        cells = self.columns[name]
        if isinstance(cells, np.ndarray):
            return bool(np.issubdtype(cells.dtype, np.number)) and bool(np.isfinite(cells.astype(np.float64)).any())
        some = False
        for cell in cells:
            text = cell.strip()
            if text not in MISSING:
                some = True
                if _as_float(text) is None and not _fits(_COMMA, _cleaned(text)) and not _fits(_POINT, _cleaned(text)):
                    return False
        return some

    def numbers(self, name: str, options: ReadOptions) -> FloatArray:
        """A column as numbers ``(n,)``, nan where it is empty. Raises :class:`~gridpilot.errors.PriceError`, naming the cell."""
        cells = self.cells(name)
        if isinstance(cells, np.ndarray):
            return self._typed(name, cells)
        values = _plain(cells) if options.decimal != "," and self.decimal != "," else None
        if values is None:
            values = self._marked(name, [_cleaned(cell) for cell in cells], options)
        infinite = np.flatnonzero(np.isinf(values))
        if len(infinite):
            row = int(infinite[0])
            raise PriceError(f"{self.where}: column {name!r} has {values[row]} in {self.place(row)}, expected a finite number")
        return values

    def _typed(self, name: str, cells: npt.NDArray[Any]) -> FloatArray:
        if cells.dtype == bool:
            raise PriceError(f"{self.where}: column {name!r} holds truth values, expected numbers")
        try:
            values = np.array(
                [math.nan if cell is None else cell for cell in cells] if cells.dtype == object else cells, dtype=np.float64
            )
        except (TypeError, ValueError):
            row, cell = next((i, cell) for i, cell in enumerate(cells) if not isinstance(cell, (int, float, type(None))))
            raise PriceError(f"{self.where}: column {name!r} has {cell!r:.60} in {self.place(row)}, expected a number") from None
        infinite = np.flatnonzero(np.isinf(values))
        if len(infinite):
            row = int(infinite[0])
            raise PriceError(f"{self.where}: column {name!r} has {values[row]} in {self.place(row)}, expected a finite number")
        return values

    def _marked(self, name: str, cells: list[str], options: ReadOptions) -> FloatArray:
        """Numbers with thousands marked or a decimal comma, the same for all of the column."""
        marks = (options.decimal,) if options.decimal else (".", ",")
        misfits = {mark: _first_misfit(_POINT if mark == "." else _COMMA, cells) for mark in marks}
        fitting = [mark for mark, row in misfits.items() if row is None]
        if not fitting:
            row = max(row for row in misfits.values() if row is not None)
            values = {cell for cell in cells if cell}
            if values <= {"True", "False", "true", "false", "TRUE", "FALSE"}:
                raise PriceError(f"{self.where}: column {name!r} holds truth values, expected numbers")
            raise PriceError(
                f"{self.where}: column {name!r} has {self.columns[name][row]!r:.60} in {self.place(row)}, expected a number"
            )
        mark = fitting[0]
        if len(fitting) > 1:
            either = next((i for i, cell in enumerate(cells) if "," in cell or (self.decimal == "," and "." in cell)), None)
            if self.decimal == ",":
                mark = ","
            elif either is not None:
                raise PriceError(
                    f"{self.where}: column {name!r} has {cells[either]!r} in {self.place(either)}, which reads "
                    f"as thousands and as decimals; say which with {options.say('decimal', '.')} or {options.say('decimal', ',')}"
                )
        if mark == ",":
            self.decimal = ","
        thousands = "," if mark == "." else "."
        return np.array([float(cell.replace(thousands, "").replace(mark, ".")) if cell else math.nan for cell in cells])


def read_table(path: Path | pd.DataFrame) -> Table:
    """The table in a CSV or Parquet file, or a data frame. Raises :class:`~gridpilot.errors.PriceError`, naming the file."""
    if not isinstance(path, Path):
        import pandas as pd

        if not isinstance(path, pd.DataFrame):
            raise PriceError(f"data is {type(path).__name__} {path!r:.60}, expected a path or a data frame")
        return _of_frame(path, _FRAME, "data frame", _digest_of(path))
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise PriceError(f"{path}: no such file") from None
    except OSError as error:
        raise PriceError(f"{path}: cannot be read: {error.strerror or error}") from None
    digest = hashlib.sha256(raw).hexdigest()
    if raw.startswith(b"PAR1") or path.suffix.lower() in (".parquet", ".pq"):
        return _read_parquet(path, digest)
    text = read_text(raw, str(path))
    columns = dict(zip(text.names, map(list, zip(*text.rows, strict=True)), strict=True))
    table = Table(
        path, columns, text.lines, text.encoding, SEPARATORS[text.separator], digest, range(1, len(text.rows) + 1), text.notes
    )
    if text.separator != "," and _has_decimal_commas(text.rows):
        table.decimal = ","
    return table


def _read_parquet(path: Path, digest: str) -> Table:
    import pandas as pd  # here alone: text is read without it, and it takes half a second

    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError, UnicodeError, ImportError) as error:  # pyarrow's errors are OSErrors and ValueErrors
        reason = str(error).splitlines() or [type(error).__name__]
        raise PriceError(f"{path}: cannot be read as parquet: {reason[0]}") from None
    return _of_frame(frame, path, "Parquet", digest)


def _digest_of(frame: pd.DataFrame) -> str:
    import pandas as pd

    try:
        rows = pd.util.hash_pandas_object(frame).to_numpy().tobytes()
    except TypeError as error:  # lists and the like in its cells
        raise PriceError(f"{_FRAME}: cannot be read: {error}") from None
    return hashlib.sha256(repr(list(frame.columns)).encode() + rows).hexdigest()


def _of_frame(frame: pd.DataFrame, path: Path, encoding: str, digest: str) -> Table:
    import pandas as pd

    if isinstance(frame.index, pd.MultiIndex) or not isinstance(frame.index, pd.RangeIndex):
        frame = frame.reset_index()
    if frame.empty:
        raise PriceError(f"{path}: has no rows")
    frame = frame.set_axis([str(name) for name in frame.columns], axis=1)
    columns: dict[str, Any] = {}
    for name, series in frame.items():
        if isinstance(series.dtype, pd.PeriodDtype):
            series = series.dt.start_time
        if isinstance(series.dtype, (pd.CategoricalDtype, pd.StringDtype)) or (
            series.dtype == object and series.map(lambda cell: isinstance(cell, str)).any()
        ):
            columns[str(name)] = ["" if pd.isna(cell) else str(cell) for cell in series]
        elif isinstance(series.dtype, pd.DatetimeTZDtype):
            columns[str(name)] = [cell.isoformat() if not pd.isna(cell) else "" for cell in series]
        elif pd.api.types.is_extension_array_dtype(series.dtype) or str(series.dtype).startswith("decimal"):
            columns[str(name)] = series.to_numpy(dtype=np.float64, na_value=math.nan)
        else:
            columns[str(name)] = series.to_numpy()
    return Table(path, columns, None, encoding, "", digest, range(1, len(frame) + 1))


def listed(names: Iterable[str]) -> str:
    """Names, cut where they are many."""
    shown = list(names)
    return ", ".join(shown[:_SHOWN]) + (f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else "")


def _has_decimal_commas(rows: Sequence[Sequence[str]]) -> bool:
    return any(re.fullmatch(r"\s*[-+\u2212]?\d+,(\d{1,2}|\d{4,})\s*", cell) for row in rows[:500] for cell in row)


def _plain(cells: Sequence[str]) -> FloatArray | None:
    """Numbers as programs write them, or None."""
    try:
        values = [math.nan if cell in MISSING else float(cell) for cell in cells]
    except ValueError:
        return None
    return None if any("_" in cell for cell in cells) else np.array(values)


def _as_float(text: str) -> float | None:
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


def _cleaned(cell: str) -> str:
    text = cell.strip()
    if text in MISSING:
        return ""
    text = text.replace("\u2212", "-")
    return _SPACES.sub("", text) if not text.isascii() or " " in text or "'" in text else text


def _fits(pattern: re.Pattern[str], text: str) -> bool:
    return not text or (pattern.fullmatch(text) is not None and any(character.isdigit() for character in text))


def _first_misfit(pattern: re.Pattern[str], cells: Sequence[str]) -> int | None:
    return next((row for row, cell in enumerate(cells) if not _fits(pattern, cell)), None)
