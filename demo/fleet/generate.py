"""A fleet written to disk in the history format, one server after the other."""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from demo.fleet.addition_files import FILES, moment, write_changes, write_objectives, write_services, write_table
from demo.fleet.impact import Impact
from demo.fleet.incidents import Incident
from demo.fleet.plan import Addition, FleetPlan
from demo.fleet.series import DrawnFleet, ServerSeries, make_fleet, server_series

DATA_FILE, INCIDENTS_FILE = "fleet.parquet", "incidents.csv"
_ROWS_A_GROUP = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """What was written."""

    data_path: Path
    incidents_path: Path
    other_paths: tuple[Path, ...]  # of the additions
    servers: int  # a replaced server and the one under a new id count as two
    rows: int
    incidents: int


def generate(plan: FleetPlan, folder: Path, *, progress: Callable[[int, int], None] | None = None) -> Generated:
    """Write `fleet.parquet` and `incidents.csv` into a folder, which is made; memory holds a few servers.

    With additions also `services.csv`, and `changes.csv`, `objectives.csv` and `service_levels.parquet` of those that
    have any.

    Args:
        plan: What to make.
        folder: Where to; files of an earlier run are replaced, or removed, once the new ones are complete.
        progress: Called with (servers done, servers in all).
    """
    folder.mkdir(parents=True, exist_ok=True)
    fleet = make_fleet(plan)
    with tempfile.TemporaryDirectory(prefix="unfinished-", dir=folder) as name:
        unfinished = Path(name)
        servers, rows, impacts = _write_data(fleet, unfinished / DATA_FILE, progress)
        breaches = None
        if plan.additions:
            write_services(fleet, unfinished)
        if plan.additions & {Addition.DEPLOYS, Addition.REPLACED_SERVERS}:
            write_changes(fleet, unfinished)
        if Addition.OBJECTIVES in plan.additions:
            breaches = write_objectives(fleet, unfinished, impacts)
        _write_incidents(fleet, unfinished / INCIDENTS_FILE, breaches)
        for file in (DATA_FILE, INCIDENTS_FILE, *FILES):
            if (unfinished / file).exists():
                os.replace(unfinished / file, folder / file)
            else:
                (folder / file).unlink(missing_ok=True)
    return Generated(
        data_path=folder / DATA_FILE,
        incidents_path=folder / INCIDENTS_FILE,
        other_paths=tuple(folder / file for file in FILES if (folder / file).exists()),
        servers=servers,
        rows=rows,
        incidents=len(fleet.incidents),
    )


def _write_data(
    fleet: DrawnFleet, path: Path, progress: Callable[[int, int], None] | None
) -> tuple[int, int, dict[Incident, Impact]]:
    """The observations; how many servers and rows, and what users felt of each incident."""
    schema = pa.schema(
        [
            ("timestamp", pa.timestamp("ms", tz="UTC")),
            ("server_id", pa.dictionary(pa.int32(), pa.string())),
            ("split", pa.dictionary(pa.int8(), pa.string())),
            *((name, pa.float32()) for name in fleet.plan.metrics),
            ("label", pa.int8()),
        ]
    )
    servers = rows = 0
    impacts: dict[Incident, Impact] = {}
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for servers, series in enumerate(server_series(fleet), start=1):
            # A row group of its own per server lets readers skip the servers they do not want.
            writer.write_table(_table(series, schema), row_group_size=_ROWS_A_GROUP)
            rows += len(series.times_ms)
            impacts |= series.impacts
            if progress is not None:
                progress(min(servers, fleet.plan.servers), fleet.plan.servers)
    return servers, rows, impacts


def _write_incidents(fleet: DrawnFleet, path: Path, breaches: dict[Incident, int] | None) -> None:
    """A plain fleet has four columns; one with additions says which event an incident belongs to, and its breach."""
    header = ["server_id", "start", "end", "kind"]
    if fleet.plan.additions:
        header.append("event")
    if breaches is not None:
        header.append("breach")
    rows = []
    for incident in fleet.incidents:
        span = [moment(fleet, step) for step in (incident.first, incident.last)]
        # The first id: another one begins after the server's last incident.
        row = [fleet.names[incident.server], *span, incident.kind.value, incident.event]
        if breaches is not None:
            row.append(moment(fleet, breaches[incident]) if incident in breaches else "")
        rows.append(row[: len(header)])
    write_table(path, header, sorted(rows))


def _table(series: ServerSeries, schema: pa.Schema) -> pa.Table:
    rows = len(series.times_ms)
    servers = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), [series.server_id])
    split = pa.DictionaryArray.from_arrays(pa.array(series.is_test.astype(np.int8)), ["train", "test"])
    metrics = [pa.array(series.values[:, i], from_pandas=True) for i in range(series.values.shape[1])]
    times = pa.array(series.times_ms).cast(schema.field("timestamp").type)
    return pa.table([times, servers, split, *metrics, pa.array(series.label)], schema=schema)
