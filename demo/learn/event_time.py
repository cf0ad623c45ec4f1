"""Drives a deployment through event time: observations in, and its scheduled functions run when their hour has come.

On AWS time passes by itself and schedules run the two functions; here days take seconds, so this stands in for the
clock, and for nothing else: what the functions find, start and decide is theirs.
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from demo.cloud import Deployment
from demo.learn.archive import Archive
from demo.learn.fleet import DAY_MS, between
from demo.learn.stopwatch import Stopwatch
from demo.ledger import Books
from demo.producer import Sent, send
from training.history.grid import Grid
from treeline.core.errors import TreelineError
from treeline.core.times import iso
from treeline.settings import outputs

HOUR_MS = 3_600_000
CHUNK_MS = 2 * HOUR_MS  # the roll-up sees the level of an hour only while it is one of the last two
PATIENCE_S = 90.0
HEARTBEAT_S = 5.0  # dispatch's schedule is off here, or ticks of every half minute would run into the chunks
_POLL_S = 0.05


class StuckError(TreelineError):
    """Something did not happen in time; the message says what."""


@dataclass(slots=True)
class EventTime:
    """Where event time stands."""

    deployment: Deployment
    live: Grid  # what streams
    archive: Archive  # gets each day when it is over
    between_chunks: Callable[[int], None]  # called after each chunk with the time reached; returns when time may go on
    on_drift: Callable[[int, dict[str, Any]], None]  # told each daily drift report
    watch: Stopwatch  # told where the time goes
    sent: Sent = field(default_factory=Sent)
    heartbeats: int = 0

    def run(self, start_ms: int, end_ms: int) -> Iterator[int]:
        """Let event time pass from one midnight to another; yields every day's end."""
        books = Books(self.deployment)
        before = books.decided()
        for day in range(start_ms, end_ms, DAY_MS):
            for chunk in range(day, day + DAY_MS, CHUNK_MS):
                with self.watch.of("sending"):
                    self._stream(between(self.live, chunk, chunk + CHUNK_MS))
                with self.watch.of("deciding"):
                    self._wait_decided(books, before)
                with self.watch.of("roll-up"):
                    self._invoke(outputs.ROLLUP_FUNCTION, chunk + CHUNK_MS)
                with self.watch.of("judging"):
                    self.between_chunks(chunk + CHUNK_MS)
            with self.watch.of("archive and drift check"):
                self.archive.add(between(self.live, day, day + DAY_MS))
                report = self._invoke(outputs.DRIFT_FUNCTION, day + DAY_MS)
            self.on_drift(day + DAY_MS, report)
            yield day + DAY_MS

    def _stream(self, grid: Grid) -> None:
        observations = (
            (int(grid.times_ms[t]), grid.servers[int(row)], values)
            for t, rows, present in grid.rounds()
            for row, values in zip(rows, present, strict=True)
        )
        stream = self.deployment.output(outputs.STREAM_NAME)
        send(self.deployment.client("kinesis"), stream, observations, grid.metrics, speed=None, sent=self.sent)

    def _wait_decided(self, books: Books, before: int) -> None:
        """Until detect has decided what was sent; what waits for a silent server is looked at by the heartbeat."""
        beat = time.monotonic() + HEARTBEAT_S

        def decided() -> bool:
            nonlocal beat
            if books.decided() - before >= self.sent.records:
                return True
            if time.monotonic() > beat:
                self.heartbeats += 1
                self._invoke(outputs.DISPATCH_FUNCTION, None)
                beat = time.monotonic() + HEARTBEAT_S
            return False

        wait_for(decided, f"{self.sent.records} observations decided", trouble=lambda: self._trouble(books, before))

    def _trouble(self, books: Books, before: int) -> str:
        said = self.deployment.cloud.logs(self.deployment.output(outputs.DETECT_FUNCTION), limit=400)
        wrong = [line for line in said if '"level":"INFO"' not in line][-3:]
        return f"{books.decided() - before} are; detect says {' | '.join(wrong) or 'nothing is wrong'}"

    def _invoke(self, function: str, now_ms: int | None) -> dict[str, Any]:
        event = {} if now_ms is None else {"now": iso(now_ms)}
        answer = self.deployment.client("lambda").invoke(
            FunctionName=self.deployment.output(function), Payload=json.dumps(event).encode()
        )
        body = json.loads(answer["Payload"].read() or b"null")
        if "FunctionError" in answer:
            raise StuckError(f"{function} failed: {event} {body}")
        return dict(body or {})


def wait_for(
    done: Callable[[], bool],
    what: str,
    *,
    trouble: Callable[[], str] = lambda: "",
    patience_s: float = PATIENCE_S,
    poll_s: float = _POLL_S,
) -> None:
    """Return once `done()`; raises StuckError after `patience_s`, with what `trouble()` says of how things stand."""
    deadline = time.monotonic() + patience_s
    while not done():
        if time.monotonic() > deadline:
            stands = trouble()
            raise StuckError(f"after {patience_s:.0f} s still not: {what}" + (f"; {stands}" if stands else ""))
        time.sleep(poll_s)
