"""The observation contract: what a record must look like, and a reason code for each way it can fail to."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NoReturn

from treeline.core.errors import MalformedRecordError
from treeline.core.profile import Metric
from treeline.core.times import iso, parse_iso

SCHEMA_VERSION = 1
MAX_RECORD_BYTES = 256 * 1024
MAX_SERVER_ID_BYTES = 256
# The limits of AWS resource tags, which is where labels usually come from.
MAX_LABELS = 50
MAX_LABEL_NAME_BYTES = 128
MAX_LABEL_VALUE_BYTES = 256
# DynamoDB keeps numbers of 1e-130 to 9.99e125 in magnitude. A smaller one is 0 to everybody, so it becomes 0;
# a larger one cannot be kept as it is and is refused.
MAX_MAGNITUDE = 9.9e125
MIN_MAGNITUDE = 1e-130
# Outside these years the text form is not of fixed width, and text order would not be time order.
_LAST_MS = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z
# "#..." are items of the servers table that are no server; "fleet" is the scope of fleet-wide incidents.
_RESERVED_PREFIX = "#"
_RESERVED_IDS = frozenset({"fleet"})
_SHOWN_CHARACTERS = 80


class RejectionReason(StrEnum):
    """Why a record was set aside: the value is a metric dimension and stands in the quarantine file."""

    NOT_UTF8 = "not_utf8"
    NOT_JSON = "not_json"
    RECORD_TOO_LARGE = "record_too_large"
    WRONG_SHAPE = "wrong_shape"
    UNSUPPORTED_SCHEMA_VERSION = "unsupported_schema_version"
    CONFLICTING_KEYS = "conflicting_keys"
    MISSING_SERVER_ID = "missing_server_id"
    INVALID_SERVER_ID = "invalid_server_id"
    EMPTY_SERVER_ID = "empty_server_id"
    OVERSIZED_SERVER_ID = "oversized_server_id"
    RESERVED_SERVER_ID = "reserved_server_id"
    MISSING_TIME = "missing_time"
    UNPARSABLE_TIME = "unparsable_time"
    NAIVE_TIME = "naive_time"
    TIME_IN_FUTURE = "time_in_future"
    TIME_TOO_OLD = "time_too_old"
    NO_KNOWN_METRIC = "no_known_metric"
    METRIC_NOT_NUMERIC = "metric_not_numeric"
    METRIC_NOT_FINITE = "metric_not_finite"
    METRIC_OUT_OF_RANGE = "metric_out_of_range"
    INVALID_LABELS = "invalid_labels"
    # Not to be seen in one record alone; ingest finds these two.
    CONFLICTING_DUPLICATE = "conflicting_duplicate"
    REFUSED_BY_STORE = "refused_by_store"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One server's metrics at one time.

    `metrics` holds finite floats in each metric's own unit, known names only; a missing metric (absent or null
    in the record) is not in it. `observed_at_ms` is milliseconds since the epoch.
    """

    server_id: str
    observed_at_ms: int
    metrics: dict[str, float]
    labels: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """One record that breaks the contract, with the bytes it came as."""

    reason: RejectionReason
    detail: str  # names the field, its value (cut) and what was expected
    raw: bytes


class _RefusedError(MalformedRecordError):
    """A record breaks the contract in the way `reason` says."""

    def __init__(self, reason: RejectionReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class ObservationDecoder:
    """Judges raw records against a metric set and the age limits of a stage.

    Args:
        metrics: The known metrics with their ranges; others in a record are ignored.
        max_future_ms: How far `observed_at` may lie after receipt; None: any distance.
        max_age_ms: How far `observed_at` may lie before receipt; None: any distance.
    """

    def __init__(self, metrics: Sequence[Metric], *, max_future_ms: int | None, max_age_ms: int | None) -> None:
        self._bounds = {m.name: (max(m.minimum, -MAX_MAGNITUDE), min(m.maximum, MAX_MAGNITUDE)) for m in metrics}
        self._names = ", ".join(m.name for m in metrics)
        self._max_future_ms = math.inf if max_future_ms is None else max_future_ms
        self._max_age_ms = math.inf if max_age_ms is None else max_age_ms

    def judge(self, data: bytes, received_at_ms: int) -> Iterator[tuple[bytes, Observation | Rejection]]:
        """Yield each record in `data` (one JSON object, or one a line) with the verdict on it; never raises.

        Blank lines are no records, but data without any record is one that is not JSON: nothing vanishes.
        An object printed over several lines is one record.
        """
        lines = [line for line in data.split(b"\n") if line.strip()]
        if len(lines) > 1:
            first = self._verdict(lines[0], received_at_ms)
            if isinstance(first, Rejection) and first.reason is RejectionReason.NOT_JSON:
                whole = self._verdict(data, received_at_ms)
                if not (isinstance(whole, Rejection) and whole.reason is RejectionReason.NOT_JSON):
                    yield data, whole
                    return
        for line in lines or [data]:
            yield line, self._verdict(line, received_at_ms)

    def _verdict(self, raw: bytes, received_at_ms: int) -> Observation | Rejection:
        try:
            return self._read(_parse(raw), received_at_ms)
        except _RefusedError as refused:
            return Rejection(reason=refused.reason, detail=refused.detail, raw=raw)

    def _read(self, body: object, received_at_ms: int) -> Observation:
        if type(body) is not dict:
            _refuse(RejectionReason.WRONG_SHAPE, "record", body, "a JSON object")
        version = body.get("schema_version", SCHEMA_VERSION)
        if version != SCHEMA_VERSION or type(version) is not int:
            _refuse(RejectionReason.UNSUPPORTED_SCHEMA_VERSION, "schema_version", version, SCHEMA_VERSION)
        server_id = _server_id(body)
        observed_at_ms = self._time(body, received_at_ms)
        labels = body.get("labels")
        return Observation(
            server_id=server_id,
            observed_at_ms=observed_at_ms,
            metrics=self._metrics(body),
            labels=_labels(labels) if labels else _no_labels(labels),
        )

    def _time(self, body: Mapping[str, object], received_at_ms: int) -> int:
        value = body.get("observed_at")
        if value is None:
            _refuse(RejectionReason.MISSING_TIME, "observed_at", None, "an ISO 8601 time with a zone")
        observed_at_ms = _parse_time(value)
        if observed_at_ms - received_at_ms > self._max_future_ms:
            limit = f"at most {self._max_future_ms / 1000:g} s after receipt at {iso(received_at_ms)}"
            _refuse(RejectionReason.TIME_IN_FUTURE, "observed_at", value, limit)
        if received_at_ms - observed_at_ms > self._max_age_ms:
            limit = f"at most {self._max_age_ms / 1000:g} s before receipt at {iso(received_at_ms)}"
            _refuse(RejectionReason.TIME_TOO_OLD, "observed_at", value, limit)
        return observed_at_ms

    def _metrics(self, body: Mapping[str, object]) -> dict[str, float]:
        given = body.get("metrics")
        if type(given) is not dict:
            if given is None:
                _refuse(RejectionReason.NO_KNOWN_METRIC, "metrics", None, f"one of {self._names}")
            _refuse(RejectionReason.WRONG_SHAPE, "metrics", given, "an object of name and number")
        metrics: dict[str, float] = {}
        bounds = self._bounds
        for name, value in given.items():
            if value is None or name not in bounds:
                continue
            low, high = bounds[name]
            if type(value) is float and low <= value <= high:
                # + 0.0 turns -0.0 into 0.0, which is what a table makes of it too.
                metrics[name] = value + 0.0 if abs(value) >= MIN_MAGNITUDE else 0.0
            else:
                metrics[name] = _unusual_number(name, value, low, high)
        if not metrics:
            found = [name for name in given if name not in bounds] or list(given)
            _refuse(RejectionReason.NO_KNOWN_METRIC, "metrics", found, f"a value of one of {self._names}")
        return metrics


def decode(
    data: bytes,
    *,
    metrics: Sequence[Metric],
    received_at_ms: int,
    max_future_ms: int | None,
    max_age_ms: int | None,
) -> tuple[list[Observation], list[Rejection]]:
    """Judge every record in `data`; see `ObservationDecoder`, which is the faster way for many calls."""
    decoder = ObservationDecoder(metrics, max_future_ms=max_future_ms, max_age_ms=max_age_ms)
    verdicts = [verdict for _, verdict in decoder.judge(data, received_at_ms)]
    return (
        [v for v in verdicts if isinstance(v, Observation)],
        [v for v in verdicts if isinstance(v, Rejection)],
    )


def _refuse(reason: RejectionReason, field: str, value: object, expected: object) -> NoReturn:
    raise _RefusedError(reason, f"{field}: expected {expected}, got {_shown(value)}")


def _shown(value: object) -> str:
    # Cut before repr where the value can be large: a digit string of 10,000 characters is no int to repr.
    if isinstance(value, str | bytes):
        text = repr(value[: _SHOWN_CHARACTERS + 1])
    elif isinstance(value, int) and value.bit_length() > 512:
        text = f"an integer of {value.bit_length()} bits"
    elif isinstance(value, list | dict):
        text = f"{type(value).__name__} {json.dumps(value, default=str, skipkeys=True)}"
    else:
        text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    body = dict(pairs)
    if len(body) != len(pairs):
        for name, value in pairs:
            if body[name] != value:
                _refuse(RejectionReason.CONFLICTING_KEYS, name, value, f"one value, {_shown(body[name])} or this")
    return body


_JSON = json.JSONDecoder(object_pairs_hook=_unique_keys)


def _parse(raw: bytes) -> object:
    if len(raw) > MAX_RECORD_BYTES:
        detail = f"record: expected at most {MAX_RECORD_BYTES} bytes, got {len(raw)}"
        raise _RefusedError(RejectionReason.RECORD_TOO_LARGE, detail)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        detail = f"record: expected UTF-8, got {raw[error.start : error.start + 4]!r} at byte {error.start}"
        raise _RefusedError(RejectionReason.NOT_UTF8, detail) from error
    try:
        body: object = _JSON.decode(text)
    except (ValueError, RecursionError) as error:  # also an integer of too many digits, or nested too deep
        _refuse(RejectionReason.NOT_JSON, "record", text, f"JSON ({str(error)[:_SHOWN_CHARACTERS]})")
    return body


def _utf8_bytes(text: str) -> int | None:
    """The length in UTF-8; None for text that has no such form (a lone surrogate from an escape)."""
    if text.isascii():
        return len(text)
    try:
        return len(text.encode("utf-8"))
    except UnicodeEncodeError:
        return None


def _server_id(body: Mapping[str, object]) -> str:
    value = body.get("server_id")
    if type(value) is not str:
        if value is None:
            _refuse(RejectionReason.MISSING_SERVER_ID, "server_id", None, "a string")
        _refuse(RejectionReason.INVALID_SERVER_ID, "server_id", value, "a string")
    if not value or value.isspace():
        _refuse(RejectionReason.EMPTY_SERVER_ID, "server_id", value, "a name")
    size = _utf8_bytes(value)
    if size is None:
        _refuse(RejectionReason.INVALID_SERVER_ID, "server_id", value, "text with a UTF-8 form")
    if size > MAX_SERVER_ID_BYTES:
        _refuse(RejectionReason.OVERSIZED_SERVER_ID, "server_id", value, f"at most {MAX_SERVER_ID_BYTES} bytes")
    if value.startswith(_RESERVED_PREFIX) or value in _RESERVED_IDS:
        _refuse(RejectionReason.RESERVED_SERVER_ID, "server_id", value, "a name Treeline does not use itself")
    return value


def _parse_time(value: object) -> int:
    expected = "an ISO 8601 time with a zone, in the years 1970 to 9999"
    if type(value) is not str:
        _refuse(RejectionReason.UNPARSABLE_TIME, "observed_at", value, expected)
    try:
        ms = parse_iso(value)
    except (ValueError, OverflowError) as error:
        naive = "with a zone" in str(error)
        reason = RejectionReason.NAIVE_TIME if naive else RejectionReason.UNPARSABLE_TIME
        _refuse(reason, "observed_at", value, expected)
    if not 0 <= ms <= _LAST_MS:
        _refuse(RejectionReason.UNPARSABLE_TIME, "observed_at", value, expected)
    return ms


def _unusual_number(name: str, value: object, low: float, high: float) -> float:
    """What is left when a value is not a float in its range: an integer, or a reason to refuse."""
    field = f"metrics.{name}"
    if type(value) is not int and type(value) is not float:
        _refuse(RejectionReason.METRIC_NOT_NUMERIC, field, value, "a number or null")
    if type(value) is float and not math.isfinite(value):
        _refuse(RejectionReason.METRIC_NOT_FINITE, field, value, "a finite number")
    if not low <= value <= high:
        _refuse(RejectionReason.METRIC_OUT_OF_RANGE, field, value, f"a number in [{low:g}, {high:g}]")
    return float(value)


def _no_labels(value: object) -> dict[str, str]:
    if value is not None and type(value) is not dict:
        _refuse(RejectionReason.INVALID_LABELS, "labels", value, "an object of strings")
    return {}


def _labels(value: object) -> dict[str, str]:
    reason = RejectionReason.INVALID_LABELS
    if type(value) is not dict:
        _refuse(reason, "labels", value, "an object of strings")
    if len(value) > MAX_LABELS:
        _refuse(reason, "labels", len(value), f"at most {MAX_LABELS} labels")
    for name, text in value.items():
        if not 1 <= (_utf8_bytes(name) or 0) <= MAX_LABEL_NAME_BYTES:
            _refuse(reason, "labels", name, f"names of 1 to {MAX_LABEL_NAME_BYTES} bytes of UTF-8")
        if type(text) is not str:
            _refuse(reason, f"labels.{name}", text, "a string")
        size = _utf8_bytes(text)
        if size is None or size > MAX_LABEL_VALUE_BYTES:
            _refuse(reason, f"labels.{name}", text, f"at most {MAX_LABEL_VALUE_BYTES} bytes of UTF-8")
    return value
