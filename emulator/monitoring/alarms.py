"""Publish the metrics that queues have on AWS, and keep every alarm's state true.

ministack's own evaluation ignores dimensions, M of N and missing data, and never clears; it is switched off. State
changes go through SetAlarmState, which delivers SNS actions and re-evaluates composite alarms, and are announced
on the default event bus as CloudWatch does.
"""

import json
import logging
import threading
import time
from datetime import UTC, datetime
from typing import Any

from ministack.core.responses import request_scope
from ministack.services import cloudwatch, sqs

from emulator.delivery.counters import Counters
from emulator.loopback.clients import ClientOf
from emulator.loopback.environment import ACCOUNT_ID, REGION
from emulator.monitoring.alarm_state import AlarmRule, State, judge

_log = logging.getLogger("treeline.alarms")
EVALUATE_S = 1.0
PUBLISH_S = 5.0
_KEPT_POINTS = 20_000  # per metric; AWS keeps fifteen months
Point = dict[str, Any]


class AlarmEvaluator(threading.Thread):
    """Publishes queue metrics and evaluates the alarms of the one account and region here."""

    def __init__(self, counters: Counters, clients: ClientOf) -> None:
        super().__init__(daemon=True, name="alarms")
        self._counters = counters
        self._clients = clients
        self._born = time.time()
        self._published = 0.0
        self._first_seen: dict[str, float] = {}

    @staticmethod
    def install() -> None:
        """Switch ministack's own evaluation off."""
        cloudwatch._evaluate_alarm = lambda alarm: None
        cloudwatch._evaluate_all_alarms = lambda: None

    def run(self) -> None:
        """Evaluate for as long as the process lives."""
        while True:
            try:
                with request_scope(ACCOUNT_ID, REGION):
                    now = time.time()
                    if now - self._published >= PUBLISH_S:
                        self._published = now
                        publish_queue_metrics(now)
                        _trim_points()
                    for alarm in list(cloudwatch._alarms.values()):
                        self._evaluate(alarm, now)
            except Exception:  # noqa: BLE001 -- logged; the thread has to live on
                _log.exception("alarm evaluation")
            time.sleep(EVALUATE_S)

    def _evaluate(self, alarm: dict[str, Any], now: float) -> None:
        rule = AlarmRule.of(alarm)
        if not alarm.get("MetricName") or not rule.is_supported:
            return
        dimensions = {d["Name"]: str(d["Value"]) for d in alarm.get("Dimensions") or []}
        key = (alarm["Namespace"], alarm["MetricName"], cloudwatch._dims_key(dimensions))
        points = list(cloudwatch._metrics.get(key) or [])
        started = max(self._born, self._first_seen.setdefault(alarm["AlarmName"], now))
        values = datapoints(rule, points, now, started)
        if not values:
            return
        old: State = alarm["StateValue"]
        new = judge(rule, values, old)
        if new != old:
            self._change(alarm, old, new, values, rule)

    def _change(
        self, alarm: dict[str, Any], old: State, new: State, values: list[float | None], rule: AlarmRule
    ) -> None:
        shown = ", ".join("missing" if v is None else f"{v:g}" for v in values)
        reason = f"Datapoints [{shown}] against {rule.comparison} {rule.threshold:g}: {new}"
        self._clients("cloudwatch").set_alarm_state(
            AlarmName=alarm["AlarmName"],
            StateValue=new,
            StateReason=reason,
            StateReasonData=json.dumps({"version": "1.0", "recentDatapoints": values, "threshold": rule.threshold}),
        )
        self._counters.add("alarm_changes")
        at = datetime.now(UTC)
        detail = {
            "alarmName": alarm["AlarmName"],
            "state": {"value": new, "reason": reason, "timestamp": at.isoformat(timespec="milliseconds")},
            "previousState": {"value": old},
            "configuration": {"description": alarm.get("AlarmDescription", "")},
        }
        self._clients("events").put_events(
            Entries=[
                {
                    "Source": "aws.cloudwatch",
                    "DetailType": "CloudWatch Alarm State Change",
                    "Resources": [alarm["AlarmArn"]],
                    "Detail": json.dumps(detail),
                    "Time": at,
                }
            ]
        )


def datapoints(rule: AlarmRule, points: list[Point], now: float, since: float) -> list[float | None]:
    """The last complete periods' statistics, oldest first, None where nothing was published.

    Periods are aligned to the epoch, as CloudWatch's are. Those before `since`, when the alarm did not exist, are
    left out, so an alarm on missing data does not fire at birth.
    """
    end = int(now // rule.period_s) * rule.period_s
    values: list[float | None] = []
    for index in range(rule.evaluation_periods, 0, -1):
        start = end - index * rule.period_s
        if start < since:
            continue
        within = [p for p in points if start <= p["Timestamp"] < start + rule.period_s]
        values.append(
            cloudwatch._stat_value(cloudwatch._calc_stats(within), rule.statistic, within) if within else None
        )
    return values


def publish_queue_metrics(now: float) -> None:
    """AWS/SQS: depth, in flight, delayed, and age of the oldest message of every queue."""
    for queue in list(sqs._queues.values()):
        name = queue["attributes"]["QueueArn"].rsplit(":", 1)[-1]
        messages = list(queue["messages"])
        visible = sum(m.get("visible_at", 0.0) <= now for m in messages)
        delayed = sum(m.get("visible_at", 0.0) > now and not m.get("receive_count") for m in messages)
        oldest_s = max((now - m.get("sent_at", now) for m in messages), default=0.0)
        for metric, value, unit in (
            ("ApproximateNumberOfMessagesVisible", visible, "Count"),
            ("ApproximateNumberOfMessagesDelayed", delayed, "Count"),
            ("ApproximateNumberOfMessagesNotVisible", len(messages) - visible - delayed, "Count"),
            ("ApproximateAgeOfOldestMessage", oldest_s, "Seconds"),
        ):
            cloudwatch.record_metric("AWS/SQS", metric, value, unit, {"QueueName": name})


def _trim_points() -> None:
    for points in list(cloudwatch._metrics.values()):
        if len(points) > _KEPT_POINTS:
            del points[: len(points) - _KEPT_POINTS // 2]
