"""The deployed pipeline under test: real templates, real handlers, a real forest, small data, faults on demand."""

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from demo import cloud as stage
from demo import results
from demo.alerts import AlertFeed
from demo.cloud import Deployment
from demo.ledger import Books, Ledger
from demo.model import host, train
from demo.producer import MAX_BATCH, record
from emulator.launcher import EmbeddedCloud
from tests.unit.detection_fakes import METRICS, fleet
from training.evaluate.backtest import Backtest, backtest
from training.history.grid import Grid
from treeline.core.alert import Alert, AlertEvent, Priority
from treeline.core.detection.policy import PolicySettings
from treeline.core.model.package import ModelPackage
from treeline.core.profile import declared
from treeline.core.times import iso
from treeline.forest.forest import RandomCutForest
from treeline.settings import outputs

SERVERS, TRAIN, TEST = 12, 2880, 180
VERSION = "test-1"
# A deadline, not a wait: reached only when something is lost, however slow or busy the machine is.
PATIENCE_S = 300.0
# Waiting in a test is only worth it where the waiting itself is the subject.
OVERRIDES = {
    "ticks": {"max_receive_count": 2, "batching_window_s": 0},
    "detection": {"endpoint_retry_s": 1, "redrive_max_delay_s": 0, "watermark_wait_s": 20.0},
    "functions": {"detect": {"timeout_s": 30, "memory_mb": 1024}},
    "pagerduty": {"retry_base_s": 1},
    "promotion": {"poll_s": 1, "endpoint_poll_s": 1, "settle_s": 1, "hold_s": 7200},
}

Sample = tuple[int, str, np.ndarray]
PageStep = tuple[str, str | None, str | None]  # action, severity and time of the observation, as PagerDuty has them


def whole_fleet() -> Grid:
    """Two days to train on and three hours in which web-03 and web-07 go wrong."""
    grid = fleet(SERVERS, TRAIN + TEST)
    grid.values[TRAIN + 60 : TRAIN + 90, 3, :2] += 45.0
    grid.values[TRAIN + 100 : TRAIN + 120, 7, 2:] += 60.0
    np.clip(grid.values, 0.0, 100.0, out=grid.values)
    return grid


def part(grid: Grid, start: int, stop: int) -> Grid:
    """A stretch of a grid."""
    return replace(grid, times_ms=grid.times_ms[start:stop], values=grid.values[start:stop])


def samples(grid: Grid, start: int = 0, stop: int | None = None) -> list[Sample]:
    """Observations of steps [start, stop) in event-time order."""
    return [
        (int(grid.times_ms[t]), server, grid.values[t, i])
        for t in range(start, len(grid.times_ms) if stop is None else stop)
        for i, server in enumerate(grid.servers)
    ]


class Model:
    """The model of every pipeline under test: trained by the deployed training job once, hosted many times."""

    def __init__(self) -> None:
        self._trained: tuple[ModelPackage, RandomCutForest, bytes] | None = None

    @property
    def trained(self) -> tuple[ModelPackage, RandomCutForest]:
        """What `put_into` has trained."""
        assert self._trained is not None
        package, forest, _ = self._trained
        return package, forest

    def put_into(self, deployment: Deployment, past: Grid) -> tuple[ModelPackage, RandomCutForest]:
        """Train, or bring the artifacts of the first training; returns when the endpoint is in service."""
        bucket, key = deployment.output(outputs.MODELS_BUCKET), f"forests/{VERSION}/output/model.tar.gz"
        s3 = deployment.client("s3")
        if self._trained is None:
            package, forest = train(deployment, past, model_version=VERSION, seed=1, progress=lambda *_: None)
            job = deployment.client("sagemaker").describe_training_job(TrainingJobName=VERSION)
            trained_key = job["ModelArtifacts"]["S3ModelArtifacts"].removeprefix(f"s3://{bucket}/")
            artifact = s3.get_object(Bucket=bucket, Key=trained_key)["Body"].read()
            self._trained = package, forest, artifact
            return package, forest
        package, forest, artifact = self._trained
        s3.put_object(Bucket=bucket, Key=key, Body=artifact)
        host(deployment, package, f"s3://{bucket}/{key}")
        return package, forest


@dataclass(slots=True)
class Pipeline:
    """A deployed stage with a model, and what has gone in and come out."""

    deployment: Deployment
    present: Grid
    offline: Backtest
    feed: AlertFeed
    books: Books
    told: list[Alert] = field(default_factory=list)
    sent: int = 0

    @classmethod
    def start(cls, cloud: EmbeddedCloud, assembly: Path, model: Model) -> "Pipeline":
        """Deploy, and host the model."""
        deployment = stage.deploy(cloud, assembly)
        grid = whole_fleet()
        past, present = part(grid, 0, TRAIN), part(grid, TRAIN, TRAIN + TEST)
        package, forest = model.put_into(deployment, past)
        offline = backtest(package, present, forest.score, PolicySettings())
        return cls(deployment, present, offline, AlertFeed(deployment), Books(deployment))

    def function(self, output: str) -> str:
        """A function's name."""
        return self.deployment.output(output)

    def send(self, observations: Iterable[Sample]) -> None:
        """Put observations on the stream."""
        self.send_raw((server, record(at, server, values, METRICS)) for at, server, values in observations)

    def send_raw(self, entries: Iterable[tuple[str, bytes]]) -> None:
        """Put (partition key, bytes) on the stream; every record must be accepted."""
        rows = [{"PartitionKey": key, "Data": data} for key, data in entries]
        kinesis, stream = self.deployment.client("kinesis"), self.deployment.output(outputs.STREAM_NAME)
        for start in range(0, len(rows), MAX_BATCH):
            answer = kinesis.put_records(StreamName=stream, Records=rows[start : start + MAX_BATCH])
            assert answer["FailedRecordCount"] == 0
        self.sent += len(rows)

    def wait_decided(self, count: int, *, heartbeat: bool = False) -> None:
        """Until detect has committed `count` observations; `heartbeat` runs dispatch as its schedule would."""
        deadline = time.monotonic() + PATIENCE_S
        while (decided := self.books.decided()) < count:
            assert time.monotonic() < deadline, f"{decided} of {count} decided after {PATIENCE_S} s; {self.trouble()}"
            if heartbeat:
                self.invoke(outputs.DISPATCH_FUNCTION)
            time.sleep(0.3)

    def invoke(self, output: str) -> None:
        """Run a scheduled function now."""
        answer = self.deployment.client("lambda").invoke(FunctionName=self.function(output), Payload=b"{}")
        assert "FunctionError" not in answer, answer["Payload"].read()

    def kill_busy(self, output: str, *, patience_s: float = 2.0) -> int:
        """SIGKILL a function's workers as soon as one is in an invocation; how many, 0 if none was in time."""
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            if killed := self.deployment.cloud.functions.kill(self.function(output), when_busy=True):
                return killed
        return 0

    def queue_depth(self, output: str) -> int:
        """Messages in a queue, visible or not."""
        attributes = self.deployment.client("sqs").get_queue_attributes(
            QueueUrl=self.deployment.output(output), AttributeNames=["All"]
        )["Attributes"]
        return int(attributes["ApproximateNumberOfMessages"]) + int(attributes["ApproximateNumberOfMessagesNotVisible"])

    def wait_told(self, count: int, *, pages: int | None = None) -> None:
        """Until `count` alerts came by the topic, PagerDuty's stand-in took `pages` (as many) and none waits."""
        deadline = time.monotonic() + PATIENCE_S
        wanted = count if pages is None else pages
        while True:
            self.told += self.feed.read()
            told, paged = len({(a.incident_id, a.sequence) for a in self.told}), len(self.pages())
            waiting = self.queue_depth(outputs.PAGES_QUEUE_URL)
            if told >= count and paged >= wanted and waiting == 0:
                return
            assert time.monotonic() < deadline, (
                f"{told} alerts of {count}, {paged} pages of {wanted}, {waiting} waiting "
                f"after {PATIENCE_S} s; {self.trouble()}"
            )
            time.sleep(0.3)

    def pages(self, *, refused: bool = False) -> list[dict]:
        """Events that PagerDuty's stand-in took, in its order; with `refused` those that it answered 400 too."""
        answers = (202, 400) if refused else (202,)
        return [e["event"] for e in self.deployment.cloud.pagerduty.received() if e["status"] in answers]

    def page_sequences(self, *, refused: bool = False) -> dict[str, list[PageStep]]:
        """Server -> its triggers and resolves in the order they came."""
        sequences: dict[str, list[PageStep]] = {}
        for event in self.pages(refused=refused):
            payload = event.get("payload", {})
            step = (event["event_action"], payload.get("severity"), payload.get("timestamp"))
            sequences.setdefault(event["dedup_key"].rpartition("/")[2], []).append(step)
        return sequences

    def offline_sequences(self) -> dict[str, list[PageStep]]:
        """The same, as the same history has it without any cloud."""
        sequences: dict[str, list[PageStep]] = {}
        for server, change in self.offline.changes:
            sequences.setdefault(server, []).append(_step(change.event, change.priority, iso(change.at)))
        return sequences

    def table_sequences(self) -> dict[str, list[PageStep]]:
        """The same, as the incidents table has it."""
        sequences: dict[str, list[PageStep]] = {}
        for _, alerts in sorted(self.books.incidents().items()):  # an incident's id ends in when it was opened
            for alert in alerts:
                step = _step(alert.event, alert.priority, alert.clocks.observed_at)
                sequences.setdefault(alert.server_id, []).append(step)
        return sequences

    def ledger(self) -> Ledger:
        """The books."""
        return self.books.ledger()

    def expected_alerts(self) -> int:
        """How many changes the same history has offline."""
        return len(self.offline.changes)

    def assert_as_undisturbed(self, *, told_again: bool = False) -> None:
        """The fault cost nothing: all is scored once, told once, paged once, exactly as without the fault.

        `told_again`: a worker that died or hung while telling may have told; the topic then carries an alert twice,
        with the same sequence. PagerDuty is told once even so.
        """
        self.wait_told(self.expected_alerts())
        ledger = self.ledger()
        assert ledger.scored_twice == set()
        assert ledger.lost == set()
        assert len(ledger.scored) == len(self.present.times_ms) * len(self.present.servers)
        assert results.matches_offline(self.books.incidents(), self.offline)
        told = Counter((a.incident_id, a.sequence) for a in self.told)
        assert told_again or set(told.values()) == {1}, f"told more than once: {told}"
        assert self.page_sequences() == self.offline_sequences()

    def trouble(self) -> str:
        """The last log lines of detect, for a failing test's message."""
        lines = self.deployment.cloud.logs(self.function(outputs.DETECT_FUNCTION), limit=15)
        return "detect says:\n" + "\n".join(lines)


def _step(event: AlertEvent, priority: Priority, observed_at: str) -> PageStep:
    if event is AlertEvent.RESOLVED:
        return "resolve", None, None
    return "trigger", {Priority.P1: "critical", Priority.P2: "warning"}[priority], observed_at


def build(directory: Path, port: int) -> Path:
    """Synthesize once for all tests; the stand-in for PagerDuty will listen on `port`."""
    events_url = EmbeddedCloud(port=port, directory=directory).pagerduty.url
    return stage.build(directory / "assembly", declared(METRICS), events_url, OVERRIDES)
