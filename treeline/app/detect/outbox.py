"""The outbox: alerts that are committed and not published yet; every later tick tries again, in order."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from treeline.app.detect.ports import Incidents, Publisher, Record
from treeline.core.alert import Alert
from treeline.core.errors import PublishError
from treeline.core.times import iso

# How long the worker that committed may take to publish its alerts before another worker publishes them. Publishing
# takes a tenth of a second, so only a worker that died makes its alerts wait these two seconds.
OUTBOX_PAUSES, OUTBOX_PAUSE_S = 10, 0.2


def load_published(
    load: Callable[[], Record], *, clock_ms: Callable[[], int], sleep: Callable[[float], None]
) -> Record:
    """Load a record; wait while the worker that committed it may still be publishing, so nothing goes out twice."""
    record = load()
    for _ in range(OUTBOX_PAUSES):
        if not record.outbox or clock_ms() - record.committed_ms > OUTBOX_PAUSES * OUTBOX_PAUSE_S * 1000:
            break
        sleep(OUTBOX_PAUSE_S)
        record = load()
    return record


def tell(
    outbox: Sequence[Alert], *, incidents: Incidents, publisher: Publisher, clock_ms: Callable[[], int]
) -> tuple[list[Alert], list[Alert]]:
    """Write each alert to its incident's row and publish it.

    Returns:
        What was published, stamped, and what was refused and has to stay: behind a refused alert everything of the
        same incident stays too, as a resolution must not overtake its opening.
    """
    published: list[Alert] = []
    remaining: list[Alert] = []
    for alert in outbox:
        if any(alert.dedup_key == earlier.dedup_key for earlier in remaining):
            remaining.append(alert)
            continue
        stamped = replace(alert, clocks=replace(alert.clocks, published_at=iso(clock_ms())))
        try:
            if incidents.apply(stamped) and not stamped.suppressed:
                publisher.publish(stamped)
                published.append(stamped)
        except PublishError:
            remaining.append(alert)
    return published, remaining
