"""What is counted and logged of one batch of the stream."""

from treeline.app.ingest.service import IngestOutcome
from treeline.app.metrics import OwnMetric
from treeline.app.telemetry import Telemetry


def report(telemetry: Telemetry, outcome: IngestOutcome, *, batch_size: int) -> None:
    """Write what became of the batch's records and observations."""
    quarantined = {reason.value: count for reason, count in outcome.quarantined.items()}
    set_aside = {reason.value: count for reason, count in outcome.values_set_aside.items()}
    for metric, value in (
        (OwnMetric.RecordsReceived, outcome.records),
        (OwnMetric.ObservationsReceived, outcome.received),
        (OwnMetric.ObservationsStored, outcome.stored),
        (OwnMetric.ObservationsRepeated, outcome.duplicates),
        (OwnMetric.RecordsQuarantined, outcome.quarantined.total()),
        (OwnMetric.ValuesSetAside, outcome.values_set_aside.total()),
        (OwnMetric.RecordsToRetry, batch_size - outcome.records),
        (OwnMetric.ServersRegistered, outcome.new_servers),
        (OwnMetric.TicksSent, outcome.ticks_sent),
        (OwnMetric.TicksFailed, outcome.ticks_failed),
    ):
        telemetry.add(metric, value)
    telemetry.add_by(OwnMetric.RecordsQuarantined, quarantined)
    telemetry.add_by(OwnMetric.ValuesSetAside, set_aside)
    telemetry.logger.info(
        "batch ingested",
        batch_size=batch_size,
        received=outcome.received,
        stored=outcome.stored,
        repeated=outcome.duplicates,
        quarantined=quarantined,
        values_set_aside=set_aside,
        new_servers=outcome.new_servers,
        resume_from=outcome.resume_from,
    )
