"""Treeline's own JSON: one object a record, or one a line, judged against a metric set and a stage's age limits."""

import math
from collections.abc import Iterator, Mapping, Sequence

from treeline.core.observation import Observation
from treeline.core.profile import Metric
from treeline.core.rejection import RefusedError, Rejection, RejectionReason, refuse
from treeline.core.times import iso
from treeline.sources.fields import (
    MIN_MAGNITUDE,
    ValueRange,
    parse_record,
    parse_time,
    read_labels,
    read_server_id,
    unusual_number,
)

SCHEMA_VERSION = 1


class ObservationDecoder:
    """Judges raw records against a metric set and the age limits of a stage.

    Args:
        metrics: The known metrics with their ranges; others in a record are ignored.
        max_future_ms: How far `observed_at` may lie after receipt; None: any distance.
        max_age_ms: How far `observed_at` may lie before receipt; None: any distance.
    """

    def __init__(self, metrics: Sequence[Metric], *, max_future_ms: int | None, max_age_ms: int | None) -> None:
        self._allowed = {metric.name: ValueRange.of(metric) for metric in metrics}
        self._names = ", ".join(m.name for m in metrics)
        self._max_future_ms = math.inf if max_future_ms is None else max_future_ms
        self._max_age_ms = math.inf if max_age_ms is None else max_age_ms

    def judge(self, data: bytes, received_at_ms: int) -> Iterator[tuple[bytes, Observation | Rejection]]:
        """Yield each record in `data` (one JSON object, or one a line) with the verdict on it; never raises.

        An observation is followed by a rejection of each value of it that is set aside, with the same bytes.
        Blank lines are no records, but data without any record is one that is not JSON: nothing vanishes.
        An object printed over several lines is one record.
        """
        lines = [line for line in data.split(b"\n") if line.strip()]
        if len(lines) > 1 and not _is_json(lines[0]) and _is_json(data):
            lines = [data]
        for line in lines or [data]:
            for verdict in self._verdicts(line, received_at_ms):
                yield line, verdict

    def _verdicts(self, raw: bytes, received_at_ms: int) -> list[Observation | Rejection]:
        set_aside: dict[str, RefusedError] = {}  # by metric
        try:
            observation = self._read(parse_record(raw), received_at_ms, set_aside)
        except RefusedError as refused:
            return [Rejection(reason=refused.reason, detail=refused.detail, raw=raw)]
        values = [
            Rejection(reason=refused.reason, detail=refused.detail, raw=raw, metric=name)
            for name, refused in set_aside.items()
        ]
        return [observation, *values]

    def _read(self, body: object, received_at_ms: int, set_aside: dict[str, RefusedError]) -> Observation:
        if type(body) is not dict:
            refuse(RejectionReason.WRONG_SHAPE, "record", body, "a JSON object")
        version = body.get("schema_version", SCHEMA_VERSION)
        if version != SCHEMA_VERSION or type(version) is not int:
            refuse(RejectionReason.UNSUPPORTED_SCHEMA_VERSION, "schema_version", version, SCHEMA_VERSION)
        server_id = read_server_id(body)
        observed_at_ms = self._time(body, received_at_ms)
        metrics = self._metrics(body, set_aside)
        return Observation(
            server_id=server_id, observed_at_ms=observed_at_ms, metrics=metrics, labels=read_labels(body)
        )

    def _time(self, body: Mapping[str, object], received_at_ms: int) -> int:
        value = body.get("observed_at")
        if value is None:
            refuse(RejectionReason.MISSING_TIME, "observed_at", None, "an ISO 8601 time with a zone")
        observed_at_ms = parse_time(value)
        if observed_at_ms - received_at_ms > self._max_future_ms:
            limit = f"at most {self._max_future_ms / 1000:g} s after receipt at {iso(received_at_ms)}"
            refuse(RejectionReason.TIME_IN_FUTURE, "observed_at", value, limit)
        if received_at_ms - observed_at_ms > self._max_age_ms:
            limit = f"at most {self._max_age_ms / 1000:g} s before receipt at {iso(received_at_ms)}"
            refuse(RejectionReason.TIME_TOO_OLD, "observed_at", value, limit)
        return observed_at_ms

    def _metrics(self, body: Mapping[str, object], set_aside: dict[str, RefusedError]) -> dict[str, float]:
        """The good values; the bad ones are put into `set_aside`, and refuse the record where no good one is left."""
        given = body.get("metrics")
        if type(given) is not dict:
            if given is None:
                refuse(RejectionReason.NO_KNOWN_METRIC, "metrics", None, f"one of {self._names}")
            refuse(RejectionReason.WRONG_SHAPE, "metrics", given, "an object of name and number")
        metrics: dict[str, float] = {}
        known = self._allowed
        for name, value in given.items():
            if value is None or name not in known:
                continue
            allowed = known[name]
            if type(value) is float and allowed.low <= value <= allowed.high:
                # + 0.0 turns -0.0 into 0.0, which is what a table makes of it too.
                metrics[name] = value + 0.0 if abs(value) >= MIN_MAGNITUDE else 0.0
                continue
            try:
                metrics[name] = unusual_number(name, value, allowed)
            except RefusedError as refused:
                set_aside[name] = refused
        if not metrics:
            if set_aside:
                raise next(iter(set_aside.values()))
            found = [name for name in given if name not in known] or list(given)
            refuse(RejectionReason.NO_KNOWN_METRIC, "metrics", found, f"a value of one of {self._names}")
        return metrics


def _is_json(data: bytes) -> bool:
    try:
        parse_record(data)
    except RefusedError as refused:
        return refused.reason is not RejectionReason.NOT_JSON
    return True
