"""A fleet written to disk in the history format, one server after the other."""

import csv
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from demo.fleet import effects, gaps
from demo.fleet.incidents import Incident, schedule
from demo.fleet.normal import Calendar, make_calendar, normal_metrics
from demo.fleet.plan import METRICS, FleetPlan
from demo.fleet.roles import role_of, server_names
from treeline.core.times import iso

_DECIMALS = (2, 2, 3, 1)
_ROWS_A_GROUP = 100_000
_SCHEMA = pa.schema(
    [
        ("timestamp", pa.timestamp("ms", tz="UTC")),
        ("server_id", pa.dictionary(pa.int32(), pa.string())),
        ("split", pa.dictionary(pa.int8(), pa.string())),
        *((name, pa.float32()) for name in METRICS),
        ("label", pa.int8()),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSeries:
    """One server's generated rows."""

    server_id: str
    role: str
    times_ms: NDArray[np.int64]  # (n,)
    values: NDArray[np.float32]  # (n, 4)
    is_test: NDArray[np.bool_]  # (n,)
    label: NDArray[np.int8]  # (n,) 1 inside an incident
    incidents: tuple[Incident, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """What was written."""

    data_path: Path
    incidents_path: Path
    servers: int
    rows: int
    incidents: int


def server_series(plan: FleetPlan) -> Iterator[ServerSeries]:
    """The fleet, one server at a time by server_id; each server draws from its own stream of random numbers."""
    calendar = make_calendar(plan)
    incidents: dict[int, list[Incident]] = {}
    for incident in schedule(plan, calendar):
        incidents.setdefault(incident.server, []).append(incident)
    for server_id, index in sorted(zip(server_names(plan.servers), range(plan.servers), strict=True)):
        yield _series(plan, calendar, index, server_id, tuple(incidents.get(index, ())))


def generate(plan: FleetPlan, folder: Path, *, progress: Callable[[int, int], None] | None = None) -> Generated:
    """Write `fleet.parquet` and `incidents.csv` into a folder, which is made; memory holds a few servers.

    Args:
        plan: What to make.
        folder: Where to; files of an earlier run are replaced once the new ones are complete.
        progress: Called with (servers done, servers in all).
    """
    folder.mkdir(parents=True, exist_ok=True)
    data_path, incidents_path = folder / "fleet.parquet", folder / "incidents.csv"
    unfinished = [path.with_name(path.name + ".unfinished") for path in (data_path, incidents_path)]
    rows = count = 0
    try:
        with (
            pq.ParquetWriter(unfinished[0], _SCHEMA, compression="zstd") as writer,
            unfinished[1].open("w", newline="", encoding="utf-8") as file,
        ):
            table = csv.writer(file)
            table.writerow(["server_id", "start", "end", "kind"])
            for done, series in enumerate(server_series(plan), start=1):
                # A row group of its own per server lets readers skip the servers they do not want.
                writer.write_table(_table(series), row_group_size=_ROWS_A_GROUP)
                rows += len(series.times_ms)
                first_ms = int(plan.start.timestamp()) * 1000
                for incident in series.incidents:
                    span = [iso(first_ms + step * plan.step_s * 1000) for step in (incident.first, incident.last)]
                    table.writerow([series.server_id, *span, incident.kind.value])
                    count += 1
                if progress is not None:
                    progress(done, plan.servers)
        os.replace(unfinished[0], data_path)
        os.replace(unfinished[1], incidents_path)
    finally:
        for path in unfinished:
            path.unlink(missing_ok=True)
    return Generated(
        data_path=data_path, incidents_path=incidents_path, servers=plan.servers, rows=rows, incidents=count
    )


def _series(
    plan: FleetPlan, calendar: Calendar, index: int, server_id: str, incidents: tuple[Incident, ...]
) -> ServerSeries:
    # Streams apart, so that with and without incidents a server's normal behaviour is the same.
    normal, wrong, lost = (np.random.default_rng([plan.seed, index, stream]) for stream in range(3))
    role = role_of(index)
    metrics = normal_metrics(plan, calendar, role, normal)
    label = np.zeros(plan.rows_per_server, dtype=np.int8)
    for incident in incidents:
        effects.apply(plan, role, incident, metrics, wrong)
        label[incident.first : incident.last + 1] = 1
    gaps.remove_values(plan, metrics, lost)
    here = gaps.arrived(plan, incidents, lost)
    values = np.column_stack([metrics[:, i].round(digits) for i, digits in enumerate(_DECIMALS)])
    return ServerSeries(
        server_id=server_id,
        role=role.name,
        times_ms=calendar.seconds[here] * 1000,
        values=values[here].astype(np.float32),
        is_test=(np.arange(plan.rows_per_server) >= plan.train_rows)[here],
        label=label[here],
        incidents=incidents,
    )


def _table(series: ServerSeries) -> pa.Table:
    rows = len(series.times_ms)
    servers = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), [series.server_id])
    split = pa.DictionaryArray.from_arrays(pa.array(series.is_test.astype(np.int8)), ["train", "test"])
    metrics = [pa.array(series.values[:, i], from_pandas=True) for i in range(len(METRICS))]
    times = pa.array(series.times_ms).cast(_SCHEMA.field("timestamp").type)
    return pa.table([times, servers, split, *metrics, pa.array(series.label)], schema=_SCHEMA)
