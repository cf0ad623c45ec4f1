"""What a function writes: kept as CloudWatch Logs (newest lines only), turned into metrics where it says so.

Replaces ministack's log emission, which opens a new stream per invocation and keeps every line for ever, and its
invocation metrics, which miss what event source mappings and schedules invoke.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from ministack.core.responses import get_account_id, get_region
from ministack.services import cloudwatch, cloudwatch_logs, lambda_svc

from emulator.delivery.counters import Counters
from emulator.delivery.worker_script import RAISED
from emulator.monitoring.emf import metric_values
from emulator.monitoring.log_pattern import PatternError, compile_pattern

_log = logging.getLogger("treeline.logs")
KEPT_LINES = 20_000  # per function
_TRIM_AT = KEPT_LINES + 2_000


class FunctionLogs:
    """Installed in place of ministack's `_emit_lambda_logs` and around its dispatch of invocations."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._lock = threading.Lock()
        self._patterns: dict[str, Callable[[str], bool]] = {}

    def install(self) -> None:
        """Put this in ministack's place."""
        dispatch = lambda_svc._execute_function_dispatch

        def counted(func: dict[str, Any], config: dict[str, Any], event: Any, request_id: str, started: float) -> Any:
            began = time.time()
            result = dispatch(func, config, event, request_id, started)
            raised = result["body"].get(RAISED) if isinstance(result.get("body"), dict) else None
            if raised is not None:
                result = {"body": raised, "error": True, "function_error": "Unhandled", "log": result.get("log", "")}
            failed = bool(result.get("error"))
            self._record_invocation(config.get("FunctionName", "unknown"), (time.time() - began) * 1000, failed)
            return result

        def throttles_only(function_name: str, duration_ms: float, error: bool, throttle: bool) -> None:
            if throttle:
                cloudwatch.record_metric("AWS/Lambda", "Throttles", 1, "Count", {"FunctionName": function_name})
                self._counters.add("lambda_throttles")

        lambda_svc._execute_function_dispatch = counted
        lambda_svc._emit_lambda_metrics = throttles_only
        lambda_svc._emit_lambda_logs = self.emit

    def _record_invocation(self, function: str, duration_ms: float, failed: bool) -> None:
        self._counters.add("lambda_invocations")
        self._counters.add("lambda_errors", int(failed))
        dimensions = {"FunctionName": function}
        for name, value, unit in (
            ("Invocations", 1, "Count"),
            ("Errors", int(failed), "Count"),
            ("Duration", duration_ms, "Milliseconds"),
        ):
            cloudwatch.record_metric("AWS/Lambda", name, value, unit, dimensions)

    def emit(
        self,
        func: dict[str, Any],
        request_id: str,
        log_text: str,
        error: bool,
        duration_ms: int,
        *,
        log_source: Any = None,
    ) -> None:
        """Keep the lines of one invocation and publish the metrics they carry."""
        config = func.get("config") or func
        function = config.get("FunctionName", "unknown")
        group = (config.get("LoggingConfig") or {}).get("LogGroup") or f"/aws/lambda/{function}"
        lines = log_text.splitlines() if log_text else []
        try:
            self._publish_metrics(group, lines)
            memory_mb = config.get("MemorySize", 128)
            report = f"REPORT RequestId: {request_id}\tDuration: {duration_ms} ms\tMemory Size: {memory_mb} MB"
            self._keep(
                group, function, [f"START RequestId: {request_id}", *lines, f"END RequestId: {request_id}", report]
            )
        except Exception:  # noqa: BLE001 -- a log line must never fail the invocation that wrote it
            _log.exception("log lines of %s", function)

    def _publish_metrics(self, group: str, lines: list[str]) -> None:
        for line in lines:
            for metric in metric_values(line):
                cloudwatch.record_metric(metric.namespace, metric.name, metric.value, metric.unit, metric.dimensions)
                self._counters.add("emf_values")
        filters = [f for f in cloudwatch_logs._metric_filters.values() if f["logGroupName"] == group]
        for metric_filter in filters:
            for line in lines:
                if self._matches(metric_filter["filterPattern"], line):
                    self._publish_filter(metric_filter)

    def _matches(self, pattern: str, line: str) -> bool:
        if pattern not in self._patterns:
            try:
                self._patterns[pattern] = compile_pattern(pattern)
            except PatternError as error:
                _log.error("%s", error)
                self._patterns[pattern] = lambda line: False
        return self._patterns[pattern](line)

    def _publish_filter(self, metric_filter: dict[str, Any]) -> None:
        for wanted in metric_filter["metricTransformations"]:
            unit, value = wanted.get("unit") or "None", float(wanted["metricValue"])
            cloudwatch.record_metric(wanted["metricNamespace"], wanted["metricName"], value, unit, {})

    def _keep(self, group_name: str, function: str, lines: list[str]) -> None:
        now_ms = int(time.time() * 1000)
        with self._lock:
            if group_name not in cloudwatch_logs._log_groups:
                cloudwatch_logs._log_groups[group_name] = {
                    "arn": cloudwatch_logs._make_group_arn(group_name),
                    "creationTime": now_ms,
                    "retentionInDays": None,
                    "tags": {},
                    "subscriptionFilters": {},
                    "streams": {},
                }
            streams = cloudwatch_logs._log_groups[group_name]["streams"]
            stream = streams.setdefault(
                function,
                {
                    "events": [],
                    "uploadSequenceToken": "1",
                    "creationTime": now_ms,
                    "firstEventTimestamp": None,
                    "lastEventTimestamp": None,
                    "lastIngestionTime": None,
                },
            )
            events = [{"timestamp": now_ms, "message": line, "ingestionTime": now_ms} for line in lines]
            cloudwatch_logs._append_log_events(stream, events)
            if len(stream["events"]) > _TRIM_AT:
                stream["events"] = stream["events"][-KEPT_LINES:]
        plain = [{"timestamp": e["timestamp"], "message": e["message"]} for e in events]
        cloudwatch_logs._fanout_to_subscription_filters(group_name, function, plain)


def function_lines(function: str, limit: int) -> list[str]:
    """The newest kept lines of a function, oldest first; by full name or by a part of it that only it has."""
    found: list[str] = []
    key = (get_account_id(), get_region())
    for group in _groups(key):
        for name, stream in list(group["streams"].items()):
            if name == function or (function and function.lower() in name.lower()):
                found += [event["message"] for event in stream["events"]]
    return found[-limit:]


def _groups(key: tuple[str, str]) -> list[dict[str, Any]]:
    return [value for scoped, value in list(cloudwatch_logs._log_groups._data.items()) if scoped[:2] == key]
