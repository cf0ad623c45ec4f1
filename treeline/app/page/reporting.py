"""What is counted and logged of a batch of pages."""

from collections import Counter
from collections.abc import Sequence

from treeline.app.metrics import OwnMetric
from treeline.app.page.service import PageFailure, PageOutcome, PageResult
from treeline.app.telemetry import Telemetry

# Somebody has to put the right key into the secret; until then the pages wait.
_NEEDS_SOMEBODY = frozenset({PageFailure.KEY_UNAVAILABLE, PageFailure.UNAUTHORIZED})
_COUNTED = {
    PageResult.DELIVERED: OwnMetric.PagesDelivered,
    PageResult.REFUSED: OwnMetric.PagesRefused,
    PageResult.WAITING: OwnMetric.PagesWaiting,
    PageResult.IGNORED: OwnMetric.PagesIgnored,
    PageResult.SUPERSEDED: OwnMetric.PagesSuperseded,
}


def report(telemetry: Telemetry, outcomes: Sequence[PageOutcome]) -> None:
    """Write what became of every alert of the batch."""
    results = Counter(o.result for o in outcomes)
    telemetry.add(OwnMetric.AlertsReceived, len(outcomes))
    for result, metric in _COUNTED.items():
        telemetry.add(metric, results[result])
    failures = Counter(o.delivery.failure.value for o in outcomes if o.delivery is not None and o.delivery.failure)
    telemetry.add(OwnMetric.PagesFailed, failures.total())
    telemetry.add_by(OwnMetric.PagesFailed, failures)
    for outcome in outcomes:
        _log(telemetry, outcome)


def _log(telemetry: Telemetry, outcome: PageOutcome) -> None:
    alert, delivery, log = outcome.alert, outcome.delivery, telemetry.logger
    fields: dict[str, object] = {"message_id": outcome.message.message_id, "page_result": outcome.result.value}
    if alert is not None:
        fields |= {"incident_id": alert.incident_id, "event": alert.event.value, "dedup_key": alert.dedup_key}
    if delivery is not None:
        fields |= {
            "failure": delivery.failure,
            "status": delivery.status,
            "detail": delivery.detail,
            "cut": list(delivery.cut),
        }
    if outcome.result is PageResult.REFUSED and alert is not None:
        # Not retried, so this line is where the page is to be found: all of it.
        log.error("page refused for good", **fields, alert=alert.to_json())
    elif outcome.result is PageResult.WAITING:
        fields |= {"delay_s": outcome.delay_s, "receive_count": outcome.message.receive_count}
        if alert is None:
            fields["body"] = outcome.message.body
        needs_somebody = delivery is not None and delivery.failure in _NEEDS_SOMEBODY
        (log.error if needs_somebody else log.warning)("page put off", **fields)
    else:
        log.info("page handled", **fields)
