"""How detect is put together, and what it does with a batch of ticks: one run a group, failures told apart."""

import json
import random
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from lambdas.detect.metrics import report
from treeline.app.alert.muting import Muting, Paging
from treeline.app.alert.writer import AlertWriter
from treeline.app.detect.handover import HandoverRecords
from treeline.app.detect.ports import Tick
from treeline.app.detect.service import DetectService, TickOutcome
from treeline.app.detect.ticks import TickCause
from treeline.app.promote.candidate_run import CandidateRun, MeasuredScorer, WatchedDetect
from treeline.aws.alert.controls import ControlTable, ServerLabelTable
from treeline.aws.alert.topic import AlertTopic
from treeline.aws.detect.detector_records import DetectorRecords
from treeline.aws.detect.endpoint import Endpoint, PointedEndpoint
from treeline.aws.detect.group_observations import GroupObservations
from treeline.aws.detect.incidents import IncidentTable
from treeline.aws.detect.models import ModelStore
from treeline.aws.detect.score_table import ScoreTable
from treeline.aws.observability import Telemetry
from treeline.aws.promote.candidate_decisions import CandidateDecisions
from treeline.core.errors import ScorerUnavailableError, SettingsError, StateConflictError, TreelineError
from treeline.core.times import parse_iso
from treeline.settings.pipeline import DetectSettings

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

# The scorer answers in milliseconds; a tick that hangs longer is better redone than waited for.
_RUNTIME_CONFIG = Config(connect_timeout=2, read_timeout=5, retries={"mode": "standard", "max_attempts": 2})
# boto3's own ten attempts can outlast the function; the tick comes back anyway.
_TOPIC_CONFIG = Config(connect_timeout=2, read_timeout=5, retries={"mode": "standard", "max_attempts": 2})
_TABLE_CONFIG = Config(connect_timeout=2, read_timeout=10, retries={"mode": "standard", "max_attempts": 4})
# A third of the function's timeout: a group with hours of backlog is left to its next ticks, and its messages do not
# come back for work that is done.
BUDGET_MS = 20_000


class TickService(Protocol):
    """The use case: one group's tick."""

    def run(self, tick: Tick, outcome: TickOutcome | None = None, *, until_ms: int | None = None) -> TickOutcome:
        """See `DetectService.run`."""
        ...

    def has_read(self, group: int, *, asked_ms: int, since_ms: int) -> bool:
        """See `DetectService.has_read`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Composition:
    """The use case with its telemetry and its queue."""

    service: TickService
    settings: DetectSettings
    telemetry: Telemetry
    sqs: "SQSClient"

    def handle(self, records: Iterable[Mapping[str, Any]], context: object) -> dict[str, Any]:
        """Run every group the batch names once; report the messages of groups that must be tried again."""
        with self.telemetry.invocation(context):
            failed = self._run(records)
        return {"batchItemFailures": [{"itemIdentifier": record["messageId"]} for record in failed]}

    def _run(self, records: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """The messages that must be tried again."""
        messages: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
        failed: list[Mapping[str, Any]] = []
        for record in records:
            try:
                messages[int(json.loads(record["body"])["group"])].append(record)
            except (ValueError, KeyError, TypeError) as error:
                self.telemetry.logger.error("tick is not readable", error=repr(error), body=record["body"][:200])
                failed.append(record)
        is_scorer_down, until_ms = False, _now_ms() + BUDGET_MS
        for group, ticks in sorted(messages.items()):
            if is_scorer_down:  # it serves all groups: asking for each would only use up our time
                self._return_later(ticks)
                failed.extend(ticks)
                continue
            started, outcome, is_done = time.perf_counter(), TickOutcome(), False
            try:
                self.service.run(self._merged(group, ticks), outcome, until_ms=until_ms)
                is_done = True
            except ScorerUnavailableError as error:
                self.telemetry.logger.warning("scorer unavailable, tick returns", group=group, error=str(error))
                is_scorer_down = True
                self.telemetry.count("ScorerUnavailable")
                self._return_later(ticks)
                failed.extend(ticks)
            except StateConflictError as error:
                self.telemetry.logger.warning("group is contended, tick returns", group=group, error=str(error))
                self.telemetry.count("StateConflicts")
                self._return_later(ticks)
                failed.extend(ticks)
            except (TreelineError, ClientError):
                # Loud, but alone: what is wrong with one group must not keep the others of the batch waiting.
                self.telemetry.logger.exception("tick failed", group=group)
                self.telemetry.count("TickFailures")
                self._return_later(ticks)
                failed.extend(ticks)
            if is_done or outcome.commits or outcome.published:  # what an error ended has still been done
                self._note(group, outcome, 1000.0 * (time.perf_counter() - started))
        return failed

    def _merged(self, group: int, ticks: list[Mapping[str, Any]]) -> Tick:
        """One tick for all of a group's: the oldest start that is still to be read serves them all."""
        bodies = [json.loads(record["body"]) for record in ticks]
        starts = [
            body["since"]
            for record, body in zip(ticks, bodies, strict=True)
            if body.get("since")
            and not self.service.has_read(
                group,
                asked_ms=int(record["attributes"]["SentTimestamp"]),
                since_ms=parse_iso(body["since"]),
            )
        ]
        is_sweep = any(body.get("cause") != TickCause.OBSERVATIONS for body in bodies)
        return Tick(group, min(starts, default=None), is_sweep=is_sweep)

    def _return_later(self, ticks: list[Mapping[str, Any]]) -> None:
        """Come back in about `endpoint_retry_s`, spread so that groups do not return together."""
        for record in ticks:
            delay_s = self.settings.endpoint_retry_s * random.uniform(0.5, 1.5)
            self.sqs.change_message_visibility(
                QueueUrl=self.settings.tick_queue_url,
                ReceiptHandle=record["receiptHandle"],
                VisibilityTimeout=max(1, round(delay_s)),
            )

    def _note(self, group: int, outcome: TickOutcome, duration_ms: float) -> None:
        count = {
            "ObservationsScored": outcome.scored,
            "ObservationsWarmingUp": outcome.warming_up,
            "ObservationsLate": outcome.late,
            "ObservationsTooLate": len(outcome.too_late),
            "ValuesImputed": outcome.imputed,
            "StateConflicts": outcome.conflicts,
            "AlertsPublished": len(outcome.published),
            "PublishFailures": outcome.unpublished,
            "ServersSilent": len(outcome.silent_servers),
            "ServersWarmingUp": outcome.warming_servers,
            "ServersKnown": outcome.servers,
            "NoModel": 0 if outcome.has_model else 1,
        }
        for name, value in count.items():
            self.telemetry.count(name, value)
        self.telemetry.milliseconds("DetectDuration", duration_ms)
        if outcome.scored:
            self.telemetry.gauge("MaxSeverity", outcome.max_severity)
        report(self.telemetry, outcome)
        for alert in outcome.published:
            clocks = alert.clocks
            latency_ms = parse_iso(clocks.published_at) - parse_iso(clocks.received_at)
            if not alert.muted_by:  # what a mute held back was late on purpose
                self.telemetry.milliseconds("ReceivedToPublished", latency_ms)
            self.telemetry.logger.info(
                "alert published",
                incident_id=alert.incident_id,
                alert_event=alert.event.value,
                priority=alert.priority.value,
                severity=alert.severity,
                anomaly_score=alert.score,
                dedup_key=alert.dedup_key,
                model_version=alert.model_version,
                latency_ms=latency_ms,
            )
        if outcome.unpublished:
            self.telemetry.logger.error("alerts wait in the outbox", group=group, alerts=outcome.unpublished)
        if outcome.too_late:
            self.telemetry.logger.warning(
                "observations came too late to be scored",
                group=group,
                observations=len(outcome.too_late),
                server_ids=sorted({server for server, _ in outcome.too_late})[:50],
            )
        if outcome.silent_servers:
            self.telemetry.logger.warning("servers are silent", group=group, server_ids=outcome.silent_servers[:50])
        if not outcome.has_model:
            self.telemetry.logger.warning("no active model, observations wait", group=group)
        self.telemetry.logger.debug("tick done", group=group, scored=outcome.scored, duration_ms=duration_ms)


def _now_ms() -> int:
    """The one clock."""
    return time.time_ns() // 1_000_000


def compose(settings: DetectSettings) -> Composition:
    """Wire detect for its environment."""
    dynamodb = boto3.client("dynamodb", config=_TABLE_CONFIG)
    if settings.alerts_topic_arn.count(":") < 5:
        raise SettingsError(f"ALERTS_TOPIC_ARN must be an SNS topic's ARN, got {settings.alerts_topic_arn!r}")
    _, _, _, region, account, _ = settings.alerts_topic_arn.split(":", 5)
    telemetry = Telemetry("detect", settings.stage)
    runtime = boto3.client("sagemaker-runtime", config=_RUNTIME_CONFIG)
    models = ModelStore(
        dynamodb,
        boto3.client("s3"),
        controls_table=settings.controls_table,
        bucket=settings.models_bucket,
        metrics=settings.metric_names,
    )
    records = DetectorRecords(dynamodb, settings.state_table, clock_ms=_now_ms, writes=True)
    scores = ScoreTable(dynamodb, settings.scores_table, ttl_s=settings.score_ttl_s)
    scorer = MeasuredScorer(
        PointedEndpoint(
            runtime,
            settings.endpoint_name,
            variant=lambda: models.pointer.target_variant if models.pointer else None,
        )
    )
    service = DetectService(
        observations=GroupObservations(boto3.client("dynamodb", config=_TABLE_CONFIG), settings.observations_table),
        records=HandoverRecords(records=records, scores=scores, models=models, clock_ms=_now_ms),
        scores=scores,
        incidents=IncidentTable(dynamodb, settings.incidents_table),
        publisher=AlertTopic(
            boto3.client("sns", config=_TOPIC_CONFIG), settings.alerts_topic_arn, stage=settings.stage
        ),
        scorer=scorer,
        models=models,
        alerts=AlertWriter(
            identity=f"{account}/{region}/{settings.stage}",
            units={metric.name: metric.unit for metric in settings.metrics},
            runbook_url=settings.runbook_url,
            dashboard_url=settings.dashboard_url,
        ),
        policy=settings.policy,
        clock_ms=_now_ms,
        late_window_ms=settings.late_window_s * 1000,
        wait_ms=round(settings.watermark_wait_s * 1000),
        silent_after_ms=settings.silent_after_s * 1000,
        muting=Muting(
            paging=Paging(settings.paging),
            controls=ControlTable(dynamodb, settings.controls_table),
            labels=ServerLabelTable(dynamodb, settings.servers_table),
        ),
    )

    def on_candidate_error(error: Exception) -> None:
        telemetry.logger.warning("candidate failed", error=str(error), error_type=type(error).__name__)
        telemetry.count("CandidateFailures")

    canary = CandidateRun(
        champion=service,
        models=models,
        records=records,
        scorer_of=lambda variant: Endpoint(runtime, settings.endpoint_name, target_variant=variant),
        champion_calls=scorer.take,
        decisions=CandidateDecisions(dynamodb, settings.rollups_table),
        on_error=on_candidate_error,
        adapter_errors=(ClientError, BotoCoreError),
    )
    return Composition(
        service=WatchedDetect(service, canary),
        settings=settings,
        telemetry=telemetry,
        sqs=boto3.client("sqs"),
    )
