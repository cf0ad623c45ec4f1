"""The bodies a SageMaker Random Cut Forest takes and gives: CSV, JSON, RecordIO in; JSON, JSON lines, RecordIO out."""

import io
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from treeline.forest import recordio

CSV = "text/csv"
JSON = "application/json"
JSON_LINES = "application/jsonlines"
RECORDIO = "application/x-recordio-protobuf"

Rows = NDArray[np.float64]
Labels = NDArray[np.float64] | None


class UnsupportedContentTypeError(ValueError):
    """A body is of, or an answer is asked for in, a content type this scorer does not speak."""


class UnparsableBodyError(ValueError):
    """A body is not what its content type says."""


def media_type(content_type: str) -> tuple[str, dict[str, str]]:
    """`text/csv; label_size=0` -> ("text/csv", {"label_size": "0"})."""
    kind, *parameters = content_type.split(";")
    pairs = (parameter.partition("=") for parameter in parameters)
    return kind.strip().lower(), {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs}


def decode(content_type: str, body: bytes, *, default_label_size: int = 0) -> tuple[Rows, Labels]:
    """The rows (n, features) of a body, and its labels (n,) where it has them.

    Args:
        content_type: text/csv, optionally with label_size=0 or 1; application/json; application/x-recordio-protobuf.
        body: An empty one has no rows.
        default_label_size: For CSV without label_size: SageMaker takes 0 at inference and 1 in training.

    Raises:
        UnsupportedContentTypeError: Any other content type.
        UnparsableBodyError: Names the row, from 0, where there is one to name. Numbers that are no use to a forest
            (NaN, infinity) pass; the forest refuses them.
    """
    kind, parameters = media_type(content_type)
    if kind == CSV:
        return _decode_csv(body, _label_size(parameters, default_label_size))
    if kind == JSON:
        return _decode_json(body), None
    if kind == RECORDIO:
        try:
            return recordio.decode(body)
        except ValueError as error:
            raise UnparsableBodyError(str(error)) from error
    raise UnsupportedContentTypeError(f"content type {content_type!r} is not one of {CSV}, {JSON}, {RECORDIO}")


def encode_scores(accept: str, scores: NDArray[np.float64]) -> tuple[str, bytes]:
    """(content type, body) of scores in row order; `accept` may be empty, */* or a list: the first known one wins.

    Raises UnsupportedContentTypeError where it names neither application/json, application/jsonlines nor
    application/x-recordio-protobuf (whose scores are float32).
    """
    items = [f'{{"score":{score!r}}}' for score in scores.tolist()]
    for wanted in accept.split(",") if accept.strip() else ["*/*"]:
        kind, _ = media_type(wanted)
        if kind in (JSON, "application/*", "*/*"):
            return JSON, f'{{"scores":[{",".join(items)}]}}'.encode()
        if kind == JSON_LINES:
            return JSON_LINES, "".join(f"{item}\n" for item in items).encode()
        if kind == RECORDIO:
            return RECORDIO, recordio.encode_scores(scores)
    raise UnsupportedContentTypeError(f"accept {accept!r} names none of {JSON}, {JSON_LINES}, {RECORDIO}")


def _label_size(parameters: dict[str, str], default: int) -> int:
    text = parameters.get("label_size", str(default))
    if text not in ("0", "1"):
        raise UnsupportedContentTypeError(f"label_size must be 0 or 1, got {text!r}")
    return int(text)


def _decode_csv(body: bytes, label_size: int) -> tuple[Rows, Labels]:
    table = _parse_csv(body)
    if label_size == 0:
        return table, None
    return table[:, 1:], table[:, :1].reshape(len(table))


def _parse_csv(body: bytes) -> Rows:
    """A table of numbers without header, quotes or comments; blank lines are skipped."""
    if not body.strip():
        return np.empty((0, 0))
    try:
        return np.loadtxt(io.BytesIO(body), dtype=np.float64, delimiter=",", comments=None, ndmin=2, encoding="utf-8")
    except ValueError as error:
        raise UnparsableBodyError(_first_bad_row(body) or str(error)) from error


def _first_bad_row(body: bytes) -> str | None:
    """What is wrong with the first row that is not like the others; the slow way, once it is known to be there."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        return f"row {body[: error.start].count(10)}: not UTF-8"
    width = None
    lines = (line for line in text.splitlines() if line.strip())
    for row, line in enumerate(lines):
        cells = line.split(",")
        for column, cell in enumerate(cells):
            if not _is_number(cell):
                return f"row {row}, column {column}: {cell.strip()[:40]!r} is not a number"
        width = width or len(cells)
        if len(cells) != width:
            return f"row {row}: {len(cells)} columns, row 0 has {width}"
    return None


def _is_number(cell: str) -> bool:
    """As C's strtod sees it: Python alone would also take 1_000 and digits of other scripts."""
    try:
        float(cell)
    except ValueError:
        return False
    return cell.isascii() and "_" not in cell


def _decode_json(body: bytes) -> Rows:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UnparsableBodyError(f"not JSON: {error}") from error
    instances = document.get("instances") if isinstance(document, dict) else None
    if not isinstance(instances, list):
        raise UnparsableBodyError('expected {"instances": [{"features": [...]}, ...]}')
    rows = [_features(number, instance) for number, instance in enumerate(instances)]
    for number, row in enumerate(rows):
        if len(row) != len(rows[0]):
            raise UnparsableBodyError(f"row {number}: {len(row)} columns, row 0 has {len(rows[0])}")
    try:
        return np.array(rows, dtype=np.float64) if rows else np.empty((0, 0))
    except OverflowError as error:
        raise UnparsableBodyError(f"a number is too large: {error}") from error


def _features(number: int, instance: Any) -> list[float]:
    """Either form: {"features": [...]} or {"data": {"features": {"values": [...]}}}."""
    values: Any = None
    if isinstance(instance, dict):
        values = instance.get("features")
        if values is None and isinstance(instance.get("data"), dict):
            values = instance["data"].get("features")
        if isinstance(values, dict):
            values = values.get("values")
    if not isinstance(values, list):
        raise UnparsableBodyError(f"row {number}: no list of features")
    for column, value in enumerate(values):
        if type(value) not in (int, float):
            raise UnparsableBodyError(f"row {number}, column {column}: {value!r:.40} is not a number")
    return values
