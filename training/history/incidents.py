"""The incidents CSV of a history: `server_id, start, end` (inclusive); `kind`, `event` and `breach` where known.

`event` is the same for all servers that one cause hit. `breach` is when the incident first breached an objective of the
server's service, empty where it never did.

That of a history in series form has `series` for `server_id`, a `folder` that names the data file a row belongs to,
and `points`: the moments the window was laid around, of which the first is the onset.
"""

from collections.abc import Collection
from itertools import pairwise
from pathlib import Path

import pandas as pd

from training.history.labels import Label
from treeline.core.errors import UsageError
from treeline.core.times import iso


def read_incidents(path: Path, *, servers: Collection[str], data_path: Path, is_series: bool = False) -> list[Label]:
    """The labels of a file, by server and time.

    Args:
        path: The CSV file; an empty one (header only) means that nothing happened.
        servers: Every server of the history; a label of another one is an error.
        data_path: The history, named in that error.
        is_series: The history is in series form.

    Raises:
        UsageError: With file, line, value and what is expected.
    """
    if not path.is_file():
        raise UsageError(f"incidents file {path} does not exist; expected a CSV file: server_id,start,end")
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not a CSV file with a header; expected server_id,start,end") from error
    if is_series:
        table = _of_series_form(table, data_path)
    missing = [c for c in ("server_id", "start", "end") if c not in table.columns]
    if missing:
        raise UsageError(f"{path} has no column {', '.join(missing)}; expected server_id,start,end")
    known = set(servers)
    lines = [int(row) + 2 for row in table.index]
    for line, name in zip(lines, table["server_id"], strict=True):
        if name not in known:
            raise UsageError(f"{path} line {line}: server_id {name!r} is not in {data_path}; remove or correct it")
    starts, ends = _times(path, table["start"]), _times(path, table["end"])
    onsets, breaches = _onsets(path, table), _where_known(path, table, "breach")
    kinds, events = (list(table[c]) if c in table.columns else [""] * len(table) for c in ("kind", "event"))
    labels = []
    rows = zip(lines, table["server_id"], starts, ends, kinds, onsets, events, breaches, strict=True)
    for line, name, start, end, kind, onset, event, breach in rows:
        if end < start:
            raise UsageError(
                f"{path} line {line}: end {iso(end)} of {name} is before its start {iso(start)}; swap them"
            )
        label = Label(
            server_id=name, start_ms=start, end_ms=end, kind=kind, onset_ms=onset, event=event, breached_ms=breach
        )
        labels.append((label, line))
    labels.sort(key=lambda pair: (pair[0].server_id, pair[0].start_ms, pair[0].end_ms))
    for (before, line_before), (after, line_after) in pairwise(labels):
        if before.server_id == after.server_id and after.start_ms <= before.end_ms:
            raise UsageError(
                f"{path} lines {line_before} and {line_after}: incidents of {after.server_id} overlap at "
                f"{iso(after.start_ms)}; expected one at a time (start and end are inclusive): merge them"
            )
    return [label for label, _ in labels]


def _of_series_form(table: pd.DataFrame, data_path: Path) -> pd.DataFrame:
    """The rows of this data file, with the column names of the common form."""
    if "folder" in table.columns and (table["folder"] == data_path.stem).any():
        table = table[table["folder"] == data_path.stem]
    return table.rename(columns={"series": "server_id"}) if "server_id" not in table.columns else table


def _onsets(path: Path, table: pd.DataFrame) -> list[int | None]:
    if "points" in table.columns:
        table = table.assign(points=table["points"].str.split().str[0].fillna(""))
    return _where_known(path, table, "points")


def _where_known(path: Path, table: pd.DataFrame, column: str) -> list[int | None]:
    """The times of a column (ms), None where it is empty or there is none."""
    if column not in table.columns:
        return [None] * len(table)
    known = table[column][table[column] != ""]
    moments = dict(zip(known.index, _times(path, known), strict=True))
    return [moments.get(row) for row in table.index]


def _times(path: Path, column: "pd.Series[str]") -> list[int]:
    parsed = pd.to_datetime(column, utc=True, format="ISO8601", errors="coerce")
    for row, text, bad in zip(column.index, column, parsed.isna(), strict=True):
        if bad:
            raise UsageError(
                f"{path} line {int(row) + 2}: {column.name} is {text!r}, expected ISO 8601 such as 2026-11-22T15:58:30Z"
            )
    return [int(ms) for ms in parsed.dt.as_unit("ms").astype("int64")]
