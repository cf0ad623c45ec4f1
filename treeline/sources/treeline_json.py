"""Treeline's own JSON: one object a record, or one a line, judged against a metric set and a stage's age limits."""

import math
from collections.abc import Iterator, Mapping, Sequence

from treeline.core.observation import Observation
from treeline.core.profile import Metric
from treeline.core.rejection import RefusedError, Rejection, RejectionReason, refuse
from treeline.core.times import iso
from treeline.sources.fields import parse_record, parse_time, read_labels, read_server_id, unusual_number

SCHEMA_VERSION = 1
# DynamoDB keeps numbers of 1e-130 to 9.99e125 in magnitude. A smaller one is 0 to everybody, so it becomes 0;
# a larger one cannot be kept as it is and is refused.
MAX_MAGNITUDE = 9.9e125
MIN_MAGNITUDE = 1e-130


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
            return self._read(parse_record(raw), received_at_ms)
        except RefusedError as refused:
            return Rejection(reason=refused.reason, detail=refused.detail, raw=raw)

    def _read(self, body: object, received_at_ms: int) -> Observation:
        if type(body) is not dict:
            refuse(RejectionReason.WRONG_SHAPE, "record", body, "a JSON object")
        version = body.get("schema_version", SCHEMA_VERSION)
        if version != SCHEMA_VERSION or type(version) is not int:
            refuse(RejectionReason.UNSUPPORTED_SCHEMA_VERSION, "schema_version", version, SCHEMA_VERSION)
        server_id = read_server_id(body)
        observed_at_ms = self._time(body, received_at_ms)
        return Observation(
            server_id=server_id, observed_at_ms=observed_at_ms, metrics=self._metrics(body), labels=read_labels(body)
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

    def _metrics(self, body: Mapping[str, object]) -> dict[str, float]:
        given = body.get("metrics")
        if type(given) is not dict:
            if given is None:
                refuse(RejectionReason.NO_KNOWN_METRIC, "metrics", None, f"one of {self._names}")
            refuse(RejectionReason.WRONG_SHAPE, "metrics", given, "an object of name and number")
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
                metrics[name] = unusual_number(name, value, low, high)
        if not metrics:
            found = [name for name in given if name not in bounds] or list(given)
            refuse(RejectionReason.NO_KNOWN_METRIC, "metrics", found, f"a value of one of {self._names}")
        return metrics
