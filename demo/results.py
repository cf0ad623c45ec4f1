"""What a replay showed, judged: the figures of the terminal, of `summary.json` and of `report.html`."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from demo.ledger import Ledger
from report.data import Accounting, Clock
from training.evaluate.backtest import Backtest
from training.evaluate.judge import TierQuality
from training.evaluate.pages import Tier
from treeline.core.alert import Alert
from treeline.core.detection.policy import FLEET
from treeline.core.times import parse_iso

LATENCY_BUDGET_S = 4.3
_CLOCKS = (
    ("received to published", "received_at", "published_at"),
    ("received to scored", "received_at", "scored_at"),
    ("scored to published", "scored_at", "published_at"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayResult:
    """One replay, judged."""

    accounting: Accounting
    evaluations: Mapping[Tier, TierQuality]
    clocks: tuple[Clock, ...]
    incidents: Mapping[str, list[Alert]]
    reproduced: bool  # the same incidents come out offline, without any cloud
    records_per_s: float
    faults: Mapping[str, Any]

    @property
    def balanced(self) -> bool:
        """Whether every record is accounted for."""
        books = self.accounting
        sent = books.stored + books.quarantined + books.duplicates
        return books.lost == 0 and books.sent == sent and books.stored == books.seen


def accounting(sent: int, ledger: Ledger, *, alerts: int, pages: int, refused: int) -> Accounting:
    """The books; what was sent and is neither stored nor quarantined must have been a repeat of what is."""
    quarantined = sum(ledger.quarantined.values())
    return Accounting(
        sent=sent,
        stored=len(ledger.stored),
        quarantined=quarantined,
        scored=len(ledger.scored),
        warming_up=len(ledger.warming_up),
        too_late=len(ledger.too_late),
        lost=len(ledger.lost) + len(ledger.scored_twice),
        duplicates=max(0, sent - len(ledger.stored) - quarantined),
        quarantine_reasons=dict(ledger.quarantined),
        values_set_aside=dict(ledger.values_set_aside),
        alerts_published=alerts,
        pages_delivered=pages,
        pages_refused=refused,
    )


def clocks(alerts: Iterable[Alert]) -> tuple[Clock, ...]:
    """How long the deciding observations took, on the wall clock; one entry per stretch of the way."""
    told = list(alerts)
    result = []
    for name, start, end in _CLOCKS:
        seconds = [(parse_iso(getattr(a.clocks, end)) - parse_iso(getattr(a.clocks, start))) / 1000.0 for a in told]
        if seconds:
            p50, p95 = np.quantile(seconds, [0.5, 0.95])
            budget = LATENCY_BUDGET_S if end == "published_at" and start == "received_at" else None
            result.append(
                Clock(name=name, p50_s=p50, p95_s=p95, max_s=max(seconds), count=len(seconds), budget_s=budget)
            )
    return tuple(result)


def matches_offline(incidents: Mapping[str, list[Alert]], offline: Backtest) -> bool:
    """Whether the cloud told exactly the changes that the core finds without it (fleet incidents are merged)."""
    told = Counter(
        (a.server_id, a.event, a.priority, parse_iso(a.clocks.observed_at), a.sequence)
        for alerts in incidents.values()
        for a in alerts
        if a.server_id != FLEET
    )
    found = Counter((server, c.event, c.priority, c.at, c.sequence) for server, c in offline.changes if server != FLEET)
    return told == found


def summary(result: ReplayResult, facts: Mapping[str, str], no_ops: Iterable[Any]) -> dict[str, Any]:
    """Everything a script may want, as plain JSON values."""
    books = asdict(result.accounting)
    told = {name: books.pop(name) for name in ("alerts_published", "pages_delivered", "pages_refused")}
    return {
        "accounting": {**books, "balanced": result.balanced},
        **told,
        "records_per_s": round(result.records_per_s, 1),
        "reproduced_offline": result.reproduced,
        "evaluation": {tier.value: evaluation.to_json() for tier, evaluation in result.evaluations.items()},
        "clocks_s": {
            clock.name: {"p50": clock.p50_s, "p95": clock.p95_s, "max": clock.max_s, "count": clock.count}
            for clock in result.clocks
        },
        "incidents": [
            {
                "incident_id": incident_id,
                "events": [
                    {
                        "event": alert.event.value,
                        "priority": alert.priority.value,
                        "severity": alert.severity,
                        "observed_at": alert.clocks.observed_at,
                        "metrics": [metric.name for metric in alert.metrics],
                    }
                    for alert in alerts
                ],
            }
            for incident_id, alerts in sorted(result.incidents.items())
        ],
        "faults": dict(result.faults),
        "facts": dict(facts),
        "no_ops_locally": [no_op._asdict() for no_op in no_ops],
    }
