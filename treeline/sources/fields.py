"""The fields of a raw record, each read by its own rule; a breach raises RefusedError with its reason."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from treeline.core.profile import Metric
from treeline.core.rejection import SHOWN_CHARACTERS, RefusedError, RejectionReason, refuse, shown
from treeline.core.times import parse_iso

MAX_RECORD_BYTES = 256 * 1024
MAX_SERVER_ID_BYTES = 256
# DynamoDB keeps numbers of 1e-130 to 9.99e125 in magnitude. A smaller one is 0 to everybody, so it becomes 0;
# a larger one cannot be kept as it is and is refused.
MAX_MAGNITUDE = 9.9e125
MIN_MAGNITUDE = 1e-130
# The limits of AWS resource tags, which is where labels usually come from.
MAX_LABELS = 50
MAX_LABEL_NAME_BYTES = 128
MAX_LABEL_VALUE_BYTES = 256
# Outside these years the text form is not of fixed width, and text order would not be time order.
_LAST_MS = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z
# "#..." are items of the servers table that are no server; "fleet" is the scope of fleet-wide incidents.
_RESERVED_PREFIX = "#"
_RESERVED_IDS = frozenset({"fleet"})


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    body = dict(pairs)
    if len(body) != len(pairs):
        for name, value in pairs:
            if body[name] != value:
                refuse(RejectionReason.CONFLICTING_KEYS, name, value, f"one value, {shown(body[name])} or this")
    return body


_JSON = json.JSONDecoder(object_pairs_hook=_unique_keys)


def parse_record(raw: bytes) -> object:
    """The JSON value of one record, in which no key has two values."""
    if len(raw) > MAX_RECORD_BYTES:
        detail = f"record: expected at most {MAX_RECORD_BYTES} bytes, got {len(raw)}"
        raise RefusedError(RejectionReason.RECORD_TOO_LARGE, detail)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        detail = f"record: expected UTF-8, got {raw[error.start : error.start + 4]!r} at byte {error.start}"
        raise RefusedError(RejectionReason.NOT_UTF8, detail) from error
    try:
        body: object = _JSON.decode(text)
    except (ValueError, RecursionError) as error:  # also an integer of too many digits, or nested too deep
        refuse(RejectionReason.NOT_JSON, "record", text, f"JSON ({str(error)[:SHOWN_CHARACTERS]})")
    return body


def _utf8_bytes(text: str) -> int | None:
    """The length in UTF-8; None for text that has no such form (a lone surrogate from an escape)."""
    if text.isascii():
        return len(text)
    try:
        return len(text.encode("utf-8"))
    except UnicodeEncodeError:
        return None


def read_server_id(body: Mapping[str, object]) -> str:
    """The server's id: text of 1 to 256 bytes that Treeline does not use itself."""
    value = body.get("server_id")
    if type(value) is not str:
        if value is None:
            refuse(RejectionReason.MISSING_SERVER_ID, "server_id", None, "a string")
        refuse(RejectionReason.INVALID_SERVER_ID, "server_id", value, "a string")
    if not value or value.isspace():
        refuse(RejectionReason.EMPTY_SERVER_ID, "server_id", value, "a name")
    size = _utf8_bytes(value)
    if size is None:
        refuse(RejectionReason.INVALID_SERVER_ID, "server_id", value, "text with a UTF-8 form")
    if size > MAX_SERVER_ID_BYTES:
        refuse(RejectionReason.OVERSIZED_SERVER_ID, "server_id", value, f"at most {MAX_SERVER_ID_BYTES} bytes")
    if value.startswith(_RESERVED_PREFIX) or value in _RESERVED_IDS:
        refuse(RejectionReason.RESERVED_SERVER_ID, "server_id", value, "a name Treeline does not use itself")
    return value


def parse_time(value: object) -> int:
    """Milliseconds since the epoch of a time whose text form is of fixed width."""
    expected = "an ISO 8601 time with a zone, in the years 1970 to 9999"
    if type(value) is not str:
        refuse(RejectionReason.UNPARSABLE_TIME, "observed_at", value, expected)
    try:
        ms = parse_iso(value)
    except (ValueError, OverflowError) as error:
        naive = "with a zone" in str(error)
        reason = RejectionReason.NAIVE_TIME if naive else RejectionReason.UNPARSABLE_TIME
        refuse(reason, "observed_at", value, expected)
    if not 0 <= ms <= _LAST_MS:
        refuse(RejectionReason.UNPARSABLE_TIME, "observed_at", value, expected)
    return ms


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueRange:
    """What values of one metric are taken, each end within what the table can hold."""

    low: float  # smallest that can be
    high: float  # largest that can be
    lowest: float  # smallest that is taken as `low`
    highest: float  # largest that is taken as `high`

    @classmethod
    def of(cls, metric: Metric) -> Self:
        """As the metric declares it."""
        low, high, lowest, highest = (
            max(-MAX_MAGNITUDE, min(bound, MAX_MAGNITUDE))
            for bound in (metric.minimum, metric.maximum, *metric.clamped_range)
        )
        return cls(low=low, high=high, lowest=lowest, highest=highest)


def unusual_number(name: str, value: object, allowed: ValueRange) -> float:
    """A value that is not a float in its range: an integer as a float, one just outside clamped, another refused."""
    field = f"metrics.{name}"
    if type(value) is not int and type(value) is not float:
        refuse(RejectionReason.METRIC_NOT_NUMERIC, field, value, "a number or null")
    if type(value) is float and not math.isfinite(value):
        refuse(RejectionReason.METRIC_NOT_FINITE, field, value, "a finite number")
    if not allowed.lowest <= value <= allowed.highest:
        expected = f"a number in [{allowed.low:g}, {allowed.high:g}]"
        refuse(RejectionReason.METRIC_OUT_OF_RANGE, field, value, expected)
    return float(min(max(value, allowed.low), allowed.high))


def _no_labels(value: object) -> dict[str, str]:
    if value is not None and type(value) is not dict:
        refuse(RejectionReason.INVALID_LABELS, "labels", value, "an object of strings")
    return {}


def _checked_labels(value: object) -> dict[str, str]:
    reason = RejectionReason.INVALID_LABELS
    if type(value) is not dict:
        refuse(reason, "labels", value, "an object of strings")
    if len(value) > MAX_LABELS:
        refuse(reason, "labels", len(value), f"at most {MAX_LABELS} labels")
    for name, text in value.items():
        if not 1 <= (_utf8_bytes(name) or 0) <= MAX_LABEL_NAME_BYTES:
            refuse(reason, "labels", name, f"names of 1 to {MAX_LABEL_NAME_BYTES} bytes of UTF-8")
        if type(text) is not str:
            refuse(reason, f"labels.{name}", text, "a string")
        size = _utf8_bytes(text)
        if size is None or size > MAX_LABEL_VALUE_BYTES:
            refuse(reason, f"labels.{name}", text, f"at most {MAX_LABEL_VALUE_BYTES} bytes of UTF-8")
    return value


def read_labels(body: Mapping[str, object]) -> dict[str, str]:
    """The labels, empty when there are none."""
    value = body.get("labels")
    return _checked_labels(value) if value else _no_labels(value)
