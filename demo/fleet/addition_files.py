"""The files of a fleet with additions: who carries which service, what was changed, and what users got."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from demo.fleet.impact import Impact
from demo.fleet.incidents import Incident
from demo.fleet.series import DrawnFleet
from demo.fleet.service_levels import OBJECTIVE, ServiceLevel, first_breach, usual_level
from demo.fleet.services import members, service_count, service_name, service_of, zone_of
from training.history.objectives import LEVELS_FILE, OBJECTIVES_FILE, SERVICES_FILE
from treeline.core.times import iso

CHANGES_FILE = "changes.csv"
FILES = (SERVICES_FILE, CHANGES_FILE, OBJECTIVES_FILE, LEVELS_FILE)
_LEVELS_SCHEMA = pa.schema(
    [
        ("timestamp", pa.timestamp("ms", tz="UTC")),
        ("service", pa.dictionary(pa.int32(), pa.string())),
        ("latency_p95_ms", pa.float32()),
        ("error_ratio", pa.float32()),
    ]
)


def write_services(fleet: DrawnFleet, folder: Path) -> None:
    """`services.csv`: every server id with its service and zone."""
    servers = [
        (service_name(service), server_id, zone_of(server))
        for service in range(service_count(fleet.plan))
        for server in members(fleet.plan, service)
        for server_id in fleet.ids_of(server)
    ]
    write_table(folder / SERVICES_FILE, ("service", "server_id", "zone"), servers)


def write_changes(fleet: DrawnFleet, folder: Path) -> None:
    """`changes.csv`: deploys, rollbacks and replacements by time; whether one did harm, the incidents say."""
    changes = [
        (moment(fleet, c.at), c.kind.value, service_name(service_of(c.server)), fleet.id_of(c.server, c.at), c.name)
        for c in fleet.agenda.changes
    ]
    write_table(folder / CHANGES_FILE, ("at", "kind", "service", "server_id", "name"), changes)


def write_objectives(fleet: DrawnFleet, folder: Path, impacts: Mapping[Incident, Impact]) -> dict[Incident, int]:
    """`objectives.csv` and `service_levels.parquet`.

    Args:
        fleet: The fleet.
        folder: Where to.
        impacts: What users felt, by incident.

    Returns:
        For each incident that breaches an objective by itself, the first step at which it does.
    """
    names = [service_name(service) for service in range(service_count(fleet.plan))]
    promised = (OBJECTIVE.latency_p95_ms_below, OBJECTIVE.error_ratio_below)
    write_table(
        folder / OBJECTIVES_FILE,
        ("service", "latency_p95_ms_below", "error_ratio_below"),
        [(name, *promised) for name in names],
    )
    breaches = {}
    with pq.ParquetWriter(folder / LEVELS_FILE, _LEVELS_SCHEMA, compression="zstd") as writer:
        for service, name in enumerate(names):
            usual = usual_level(fleet.plan, fleet.calendar, service, fleet.factor)
            felt = [(i, impact) for i, impact in impacts.items() if service_of(i.server) == service]
            writer.write_table(_levels(fleet, name, usual.with_impacts(felt)))
            for incident, impact in felt:
                step = first_breach(usual, incident, impact)
                if step is not None:
                    breaches[incident] = step
    return breaches


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A CSV file."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(header)
        table.writerows(rows)


def moment(fleet: DrawnFleet, step: int) -> str:
    """A step's time, as it is written."""
    return iso(int(fleet.calendar.seconds[step]) * 1000)


def _levels(fleet: DrawnFleet, service: str, level: ServiceLevel) -> pa.Table:
    rows = fleet.plan.rows_per_server
    times = pa.array(fleet.calendar.seconds * 1000).cast(_LEVELS_SCHEMA.field("timestamp").type)
    services = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), [service])
    columns = [times, services, pa.array(level.latency_p95_ms), pa.array(level.error_ratio)]
    return pa.table(columns, schema=_LEVELS_SCHEMA)
