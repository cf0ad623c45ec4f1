"""A replay: observations are sent, alerts arrive, and it is over when all that was sent is decided and told."""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from demo.alerts import AlertFeed
from demo.cloud import Deployment
from demo.ledger import Books
from demo.producer import Observation, Sent, send
from demo.screen import DemoScreen
from training.history.grid import Grid
from treeline.core.alert import Alert
from treeline.core.errors import TreelineError
from treeline.core.times import iso
from treeline.settings import outputs

PATIENCE_S = 90.0  # without any progress; then what is missing is reported as lost
PAGE_PATIENCE_S = 30.0
STANDSTILL_S = 5.0
QUIET_S = 3.0  # without progress, when all that is stored is decided: the rest is repeats or was set aside
# Records in the stream that ingest has not taken yet. A shard refuses more than 1,000 records a second on AWS; here
# the limit keeps what is received fresh, as the clocks and the wait for silent servers count from receipt.
MAX_UNREAD = 2_000
# Observations in the table that detect has not decided yet. It reads from the oldest on; a backlog beyond what one
# read takes would only make it read the same again and again.
MAX_UNDECIDED = 6_000
_POLL_S = 0.5


class ReplayError(TreelineError):
    """The replay ended, but its books do not balance."""


@dataclass(slots=True)
class Replay:
    """One replay of a fleet's present through a deployment."""

    deployment: Deployment
    present: Grid  # what is replayed, as a grid: whose records are to be decided
    feed: AlertFeed  # alerts as the topic delivers them
    screen: DemoScreen  # where progress is shown
    sent: Sent = field(default_factory=Sent)  # how far sending is
    alerts: list[Alert] = field(default_factory=list)  # what was delivered, in order
    _undecided: int = 0  # detect's backlog when it was last looked at; the producer waits for it
    _failure: Exception | None = None

    def run(
        self,
        observations: Iterable[Observation],
        *,
        speed: float | None,
        seed: int,
        mangle: Callable[[bytes], Iterable[bytes]],
        during: Callable[[Deployment, Sent], None] | None,
    ) -> None:
        """Send the observations, and wait until everything sent has been decided and told; see `producer.send`.

        Raises:
            ReplayError: Sending failed.
        """
        first, last = int(self.present.times_ms[0]), int(self.present.times_ms[-1])
        self.screen.step(f"replaying {self._total():,} records, {iso(first)[:16]}Z to {iso(last)[:16]}Z")

        def produce() -> None:
            try:
                send(
                    self.deployment.client("kinesis"),
                    self.deployment.output(outputs.STREAM_NAME),
                    observations,
                    self.present.metrics,
                    speed=speed,
                    sent=self.sent,
                    mangle=mangle,
                    before=self._await_readers,
                    seed=seed,
                )
            except Exception as error:  # noqa: BLE001 - raised again by the thread that waits
                self._failure = error

        producer = threading.Thread(target=produce, name="producer", daemon=True)
        producer.start()
        if during is not None:
            threading.Thread(target=during, args=(self.deployment, self.sent), name="faults", daemon=True).start()
        self._await_decisions(producer)
        self._await_pages()

    def _total(self) -> int:
        return int(self.present.present().sum())

    def _await_decisions(self, producer: threading.Thread) -> None:
        """Return when all is decided, or when nothing moves any more."""
        books, sent, total = Books(self.deployment), self.sent, self._total()
        with self.screen.progress() as progress:
            sending = progress.add_task("sent", total=total, note="")
            deciding = progress.add_task("decided", total=total, note="")
            seen, since = -1, time.monotonic()
            while True:
                self._read_alerts()
                decided = books.decided()
                self._undecided = books.stored() - decided
                at = f"{iso(sent.event_ms)[:16]}Z" if sent.event_ms else ""
                progress.update(sending, completed=min(sent.records, total), note=at)
                progress.update(deciding, completed=decided, note=f"{len(self.alerts)} alerts")
                if self._failure:
                    raise ReplayError(
                        f"sending failed after {sent.records:,} records: {self._failure}"
                    ) from self._failure
                if decided + sent.records != seen:
                    seen, since = decided + sent.records, time.monotonic()
                idle_s = time.monotonic() - since
                is_all_stored_decided = idle_s > QUIET_S and decided >= books.stored()
                if not producer.is_alive() and (decided >= total or is_all_stored_decided):
                    return
                if not producer.is_alive() and idle_s > PATIENCE_S:
                    self.screen.step(
                        f"[bold red]nothing moved for {PATIENCE_S:.0f} s; what is missing counts as lost[/]"
                    )
                    return
                time.sleep(_POLL_S)

    def _read_alerts(self) -> None:
        for alert in self.feed.read():
            self.alerts.append(alert)
            self.screen.alert(alert)

    def _await_readers(self) -> None:
        """Return when ingest has taken all but MAX_UNREAD of what was sent, and detect is not far behind.

        What waits for a silent server is undecided too, so a backlog that does not move is not waited for.
        """
        seen, since = (-1, -1), time.monotonic()
        while True:
            counters = self.deployment.cloud.status()["counters"]
            taken = counters.get("kinesis_delivered", 0) + counters.get("kinesis_discarded", 0)
            is_read, is_decided = self.sent.records - taken <= MAX_UNREAD, self._undecided <= MAX_UNDECIDED
            idle_s = time.monotonic() - since
            if is_read and (is_decided or idle_s > STANDSTILL_S):
                return
            if (taken, self._undecided) != seen:
                seen, since = (taken, self._undecided), time.monotonic()
            elif idle_s > PATIENCE_S:
                log = self.deployment.cloud.log_path
                raise ReplayError(f"ingest has taken nothing for {PATIENCE_S:.0f} s; see {log}")
            time.sleep(_POLL_S / 10)

    def _await_pages(self) -> None:
        """Return when every alert has been told and no page is waiting any more, or after PAGE_PATIENCE_S."""
        sqs, pages = self.deployment.client("sqs"), self.deployment.output(outputs.PAGES_QUEUE_URL)
        deadline = time.monotonic() + PAGE_PATIENCE_S
        while time.monotonic() < deadline:
            self._read_alerts()
            committed = sum(len(told) for told in Books(self.deployment).incidents().values())
            depth = sqs.get_queue_attributes(QueueUrl=pages, AttributeNames=["All"])["Attributes"]
            waiting = int(depth["ApproximateNumberOfMessages"]) + int(depth["ApproximateNumberOfMessagesNotVisible"])
            if len(self.alerts) >= committed and waiting == 0:
                return
            time.sleep(_POLL_S)
