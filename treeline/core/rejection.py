"""Why a record, or one value of it, is set aside: a reason code for each breach of the observation contract."""

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import NoReturn

from treeline.core.errors import MalformedRecordError

SHOWN_CHARACTERS = 80  # of an offending value, in a detail


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
class Rejection:
    """One record that breaks the contract, or one value of it, with the bytes the record came as."""

    reason: RejectionReason
    detail: str  # names the field, its value (cut) and what was expected
    raw: bytes
    metric: str | None = None  # whose value alone is set aside, the others of the record being stored; None: all of it


class RefusedError(MalformedRecordError):
    """A record breaks the contract in the way `reason` says."""

    def __init__(self, reason: RejectionReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def refuse(reason: RejectionReason, field: str, value: object, expected: object) -> NoReturn:
    """Raise RefusedError with a detail that names the field, its value (cut) and what was expected."""
    raise RefusedError(reason, f"{field}: expected {expected}, got {shown(value)}")


def shown(value: object) -> str:
    """A value as short text, whatever it is."""
    # Cut before repr where the value can be large: a digit string of 10,000 characters is no int to repr.
    if isinstance(value, str | bytes):
        text = repr(value[: SHOWN_CHARACTERS + 1])
    elif isinstance(value, int) and value.bit_length() > 512:
        text = f"an integer of {value.bit_length()} bits"
    elif isinstance(value, list | dict):
        text = f"{type(value).__name__} {json.dumps(value, default=str, skipkeys=True)}"
    else:
        text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "..."
