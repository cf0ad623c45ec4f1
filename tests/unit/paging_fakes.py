"""Fakes of what paging talks to, and alerts to send."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

from treeline.app.messages import QueueMessage
from treeline.app.page.ledger import PageEntry
from treeline.app.page.service import Delivery, PagingService
from treeline.core.alert import Alert, AlertEvent, Clocks, ExpectedBy, MetricEvidence, Priority
from treeline.core.errors import StoreUnavailableError


class ScriptedPager:
    """Gives the answers it was given, then takes every page; None leaves an alert alone."""

    def __init__(self, *answers: Delivery | None) -> None:
        self._answers = list(answers)
        self.paged: list[Alert] = []

    def page(self, alert: Alert) -> Delivery | None:
        self.paged.append(alert)
        return self._answers.pop(0) if self._answers else Delivery(status=202)


class SilentQueue:
    """Remembers what was put off by how much."""

    def __init__(self) -> None:
        self.delays: dict[str, int] = {}

    def delay(self, receipt_handle: str, delay_s: int) -> None:
        self.delays[receipt_handle] = delay_s


class SharedLedger:
    """The pages table in memory; `down` makes it unreachable, `writes` how many more it takes."""

    def __init__(self) -> None:
        self.entries: dict[str, PageEntry] = {}
        self.down = False
        self.writes = 1_000_000

    def load(self, key: str) -> PageEntry:
        if self.down:
            raise StoreUnavailableError("down")
        return self.entries.get(key, PageEntry())

    def save(self, key: str, entry: PageEntry) -> bool:
        self.writes -= 1
        if self.down or self.writes < 0:
            raise StoreUnavailableError("down")
        if self.load(key).version != entry.version - 1:
            return False
        self.entries[key] = entry
        return True


def paging(
    pager: ScriptedPager,
    queue: SilentQueue | None = None,
    ledger: SharedLedger | None = None,
    *,
    now_ms: int = 1_000_000,
) -> PagingService:
    """One worker."""
    return PagingService(
        pager=pager,
        queue=queue or SilentQueue(),
        ledger=ledger or SharedLedger(),
        retry_base_s=5,
        claim_s=21.0,
        random=lambda: 0.5,
        clock_ms=lambda: now_ms,
    )


def alert(
    event: AlertEvent = AlertEvent.OPENED,
    sequence: int = 1,
    *,
    server_id: str = "web-042",
    opened: str = "2026-11-22T15:58:30.000Z",
    **changes: object,
) -> Alert:
    values = {
        "incident_id": f"{server_id}/{opened}",
        "sequence": sequence,
        "event": event,
        "priority": Priority.P1,
        "server_id": server_id,
        "dedup_key": f"123456789012/eu-west-1/default/{server_id}",
        "severity": 3.4,
        "score": 2.31,
        "threshold": 1.2,
        "metrics": [metric()],
        "clocks": Clocks(
            first_anomalous_at="2026-11-22T15:57:30.000Z",
            observed_at="2026-11-22T15:58:30.000Z",
            received_at="2026-11-22T15:58:31.087Z",
            scored_at="2026-11-22T15:58:32.400Z",
            published_at="2026-11-22T15:58:32.510Z",
        ),
        "model_version": "7",
        "labels": {"tier": "web"},
        "runbook_url": "https://treeline.invalid/runbooks/cpu",
        "dashboard_url": "https://treeline.invalid/dashboard",
        **changes,
    }
    return Alert(**values)


def metric(name: str = "cpu_percent", measured: float | None = 97.3, high: float = 60.0) -> MetricEvidence:
    return MetricEvidence(
        name=name,
        unit="%",
        measured=measured,
        expected=41.0,
        low=22.0,
        high=high,
        deviation=8.9,
        expected_by=ExpectedBy.TIME_OF_DAY,
    )


def message(told: Alert, receive_count: int = 1) -> QueueMessage:
    name = f"{told.event.value}-{told.sequence}"
    return QueueMessage(
        message_id=f"m-{name}", receipt_handle=f"r-{name}", receive_count=receive_count, body=json.dumps(told.to_json())
    )


class Receiver:
    """A PagerDuty of our own on loopback; gives the answers it was given, then 202."""

    def __init__(self, *answers: tuple[int, str, dict[str, str]]) -> None:
        self.answers = list(answers)
        self.bodies: list[dict] = []
        self.url = ""

    @contextmanager
    def listening(self) -> Iterator["Receiver"]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                answers = receiver.answers
                status, text, headers = answers.pop(0) if answers else (202, '{"status":"success"}', {})
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *args: object) -> None:
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_port}/v2/enqueue"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
