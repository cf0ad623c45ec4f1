"""Write a set of golden files: what this commit's code stores, and how it goes on from there.

    python -m tests.golden.make FOLDER [SECONDS]      SECONDS: of a rolling window that the model expects by

A small fleet is decided minute by minute over a table of moto's: web-01 is in an incident that was muted when it
opened, the fleet in one of its own that nobody could be told of yet, web-02's is over, and web-03 is new and warming
up. Whoever changes what is stored runs this once, with the code that will be released, into a folder of its own.
"""

import base64
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import boto3
import numpy as np
from moto import mock_aws

from tests.unit.detection_fakes import METRICS, START_MS, STEP_MS, TICK, Store, fleet, service, trained
from treeline.app.alert.controls import Control, ControlKind, Scope
from treeline.app.alert.muting import Muting
from treeline.app.detect.origin import Origin
from treeline.app.detect.ports import Record
from treeline.app.detect.scoreblock import ScoreBlock
from treeline.app.detect.zones import ServerZones
from treeline.app.page.ledger import position_of
from treeline.aws.detect.detector_records import DetectorRecords
from treeline.aws.detect.table_blocks import TableBlocks
from treeline.aws.page.table import PageTable
from treeline.core.arrays import Home
from treeline.core.detection.policy import PolicySettings
from treeline.core.model.package import ModelPackage
from treeline.core.state import table
from treeline.core.state.fleet import FleetState

SERVERS, TRAIN, STORED, ALL = 4, 1600, 72, 95  # steps of a minute: trained on, decided before storing, and in all
POLICY = PolicySettings(quiet_s=600, fleet_min_servers=3)
NOW_MS = START_MS + (TRAIN + STORED) * STEP_MS
ACTIVATION = 3


class Tables(Store):
    """Detect's ports: the records in a table, everything else in memory."""

    def __init__(self, package: ModelPackage | None, client: Any) -> None:
        super().__init__(package)
        self.records = DetectorRecords(client, "state", clock_ms=lambda: NOW_MS, writes=True)
        self.tables = TableBlocks(client, "state", clock_ms=lambda: NOW_MS)

    def load(self, group: int, model_version: str) -> Record | None:
        record = self.records.load(group, model_version)
        if record is not None:  # as the model pointer's number would come in
            record.state.activation = ACTIVATION
        return record

    def commit(self, record: Record, previous_version: int) -> None:
        self.records.commit(record, previous_version)

    def clear_outbox(self, record: Record) -> None:
        self.records.clear_outbox(record)

    def read_block(self, group: int, model_version: str, number: int, name: str) -> bytes | None:
        return self.tables.read_block(group, model_version, number, name)

    def stored_blocks(self, group: int, model_version: str, number: int) -> list[tuple[str, bytes]]:
        return self.tables.stored_blocks(group, model_version, number)

    def write_block(self, group: int, model_version: str, number: int, name: str, block: bytes) -> None:
        self.tables.write_block(group, model_version, number, name, block)


class Mutes:
    """One mute, over the opening of web-01's incident."""

    def in_force(self) -> tuple[Control, ...]:
        start, end = (START_MS + (TRAIN + step) * STEP_MS for step in (35, 47))
        return (
            Control(kind=ControlKind.MUTE, id="m1", scope=Scope(server="web-01"), starts_ms=start, until_ms=end,
                    reason="r", by="ann", created_ms=0),
        )  # fmt: skip


def tables() -> Any:
    """A client of moto's DynamoDB with the two tables."""
    client = boto3.client("dynamodb", region_name="eu-west-1", aws_access_key_id="t", aws_secret_access_key="t")
    for name, keys in (("state", {"group": "N", "model_version": "S"}), ("pages", {"dedup_key": "S"})):
        client.create_table(
            TableName=name,
            KeySchema=[
                {"AttributeName": key, "KeyType": kind} for key, kind in zip(keys, ("HASH", "RANGE"), strict=False)
            ],
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": of} for key, of in keys.items()],
            BillingMode="PAY_PER_REQUEST",
        )
    return client


class Labels:
    """One server has a time zone of its own, an hour ahead."""

    def of(self, server_id: str) -> dict[str, str]:
        return {"timezone": "Etc/GMT-1"} if server_id == "web-01" else {}


def run(store: Store, observations: list[list[Any]]) -> None:
    """Decide observations, one tick for those of one time."""
    detect = replace(
        service(store, now_ms=NOW_MS, policy=POLICY),
        muting=Muting(controls=Mutes()),
        zones=ServerZones(labels=Labels(), clock_ms=lambda: NOW_MS),
    )
    for at in sorted({at for _, at, _ in observations}):
        for server, observed_at, values in observations:
            if observed_at == at:
                store.add(server, at, np.array(values, np.float32), received=at)
        detect.run(TICK)


def observations(grid: Any, start: int, stop: int) -> list[list[Any]]:
    """[server, time, values] of some steps."""
    return [
        [server, int(grid.times_ms[step]), grid.values[step, row].tolist()]
        for step in range(start, stop)
        for row, server in enumerate(grid.servers)
        if server != "web-03" or step >= TRAIN + 10
    ]


def values(state: FleetState, *homes: Home) -> dict[str, Any]:
    """A state as JSON values, of all arrays or of those in some homes."""
    layout = state.layout.only(*homes) if homes else state.layout
    return {
        "servers": state.servers,
        "version": state.version,
        "activation": state.activation,
        "cycle": asdict(state.cycle),
        "channels": list(state.layout.channels),
        "arrays": {
            spec.name: {"dtype": spec.dtype, "values": state.arrays()[spec.name].tolist()} for spec in layout.arrays
        },
    }


def blocks(store: Store, record: Record) -> dict[str, Any]:
    """The stored blocks of the seasonal table by number, each with its name and its arrays' values."""
    found = {}
    for number, name in enumerate(record.state.table):
        if name:
            state = FleetState(record.state.metrics, servers=record.state.servers)
            table.fill(state, number, name, store.read_block(record.group, record.model_version, number, name) or b"")
            arrays = {name: part.tolist() for name, part in table.parts(state, number).items()}
            found[str(number)] = {"name": name, "arrays": arrays}
    return found


def block_values(block: ScoreBlock) -> dict[str, Any]:
    """A score block as JSON values."""
    return {
        "servers": block.servers,
        "version": block.version,
        "model_version": block.model_version,
        **{
            name: getattr(block, name).tolist()
            for name in ("server", "observed_at", "status", "score", "severity", "features", "common")
        },
        "origins": {server: values(Origin.unpack(data).state) for server, data in block.origins.items()},
    }


def as_json(item: Any) -> Any:
    """An item of a table as JSON: binary values in base 64."""
    if isinstance(item, bytes):
        return base64.b64encode(item).decode()
    if isinstance(item, dict):
        return {name: as_json(value) for name, value in item.items()}
    return [as_json(value) for value in item] if isinstance(item, list) else item


def dump(folder: Path, name: str, body: Any) -> None:
    (folder / name).write_text(json.dumps(body, separators=(",", ":")) + "\n")


def main(folder: Path, rolling_window_s: float = 0.0) -> None:
    """Run the fleet, and write what the tables then hold."""
    folder.mkdir(parents=True, exist_ok=True)
    grid = fleet(SERVERS, TRAIN + ALL)
    grid.values[TRAIN + 5 : TRAIN + 11, 2] += 40.0
    grid.values[TRAIN + 40 : TRAIN + 75, 1, :2] += 60.0
    grid.values[TRAIN + 68 : TRAIN + 75, 0] += 25.0
    grid.values[TRAIN + 68 : TRAIN + 75, 2] += 60.0
    known = replace(grid, values=grid.values[:TRAIN, :3], times_ms=grid.times_ms[:TRAIN], servers=grid.servers[:3])
    package = trained(known, rolling_window_s=rolling_window_s)
    package.seeds.channel_gated[2, 3] = 1  # no array is to be blank, and training found nothing to gate
    package.seeds.utc_offset_s[1], package.seeds.peak[:] = 3600, 0.5
    package.seeds.saturated_hours[2] = 1 << 5
    with mock_aws():
        client = tables()
        store = Tables(package, client)
        past = observations(grid, TRAIN, TRAIN + STORED)
        half = [o for o in past if o[1] < START_MS + (TRAIN + 68) * STEP_MS]
        run(store, half)
        store.publisher_down = True
        run(store, past[len(half) :])
        record = store.records.load(0, "m1")
        assert record is not None
        block = next(block for block in store.blocks.values() if block.origins and len(block.servers) == SERVERS)
        items = client.scan(TableName="state")["Items"]
        head = next(item["version"]["N"] for item in items if item["model_version"]["S"] == "m1")
        items = [i for i in items if "#" not in (key := i["model_version"]["S"]) or int(key[3:]) >= int(head)]
        pages = PageTable(client, "pages", clock_ms=lambda: NOW_MS)
        for alert in store.alerts:
            entry = pages.load(alert.dedup_key).claim(position_of(alert), NOW_MS)
            assert pages.save(alert.dedup_key, entry)
            assert pages.save(alert.dedup_key, entry.done(position_of(alert), alert.event))
        late = pages.load("busy").put_off(("2023-11-15T00:00:00.000Z", 1), NOW_MS + 5000)
        assert pages.save("busy", late)
        assert pages.save("busy", late.claim(("2023-11-15T00:00:00.000Z", 1), NOW_MS + 9000))
        page_items = client.scan(TableName="pages")["Items"]

        before = {
            "state": values(record.state, Home.STATE),
            "blocks": blocks(store, record),
            "block": block_values(block),
            "outbox": [alert.to_json() for alert in record.outbox],
            "untold": {server: entry.to_json() for server, entry in record.suppressed.items()},
            "seeds": values(package.seeds),
            "package": {
                "model_version": package.model_version,
                "metrics": list(package.metrics),
                "features": list(package.features),
                "step_s": package.step_s,
                "calibration": package.calibration.to_json(),
                "typical": package.typical,
                "fingerprint": package.fingerprint,
                "training": package.manifest,
            },
            "pages": {
                item["dedup_key"]["S"]: asdict(pages.load(item["dedup_key"]["S"])) for item in page_items
            },
        }  # fmt: skip
        ahead = observations(grid, TRAIN + STORED, TRAIN + ALL)
        told, store.publisher_down = len(store.alerts), False
        run(store, ahead)
        after = store.records.load(0, "m1")
        assert after is not None
        decided = {(server, at) for server, at, _ in ahead}
        continued = {
            "observations": ahead,
            "alerts": [alert.to_json() for alert in store.alerts[told:]],
            "scored": [[*key, *result] for key, result in sorted(store.scored().items()) if key in decided],
            "state": values(after.state, Home.STATE),
        }
    (folder / "package.zip").write_bytes(package.to_bytes())
    (folder / "block.bin").write_bytes(block.pack())
    (folder / "state.bin").write_bytes(record.state.pack(Home.STATE))
    dump(folder, "tables.json", as_json({"state": items, "pages": page_items}))
    dump(folder, "stored.json", before)
    dump(folder, "continued.json", continued)
    blank = FleetState(len(METRICS), servers=record.state.servers, layout=record.state.layout).arrays()
    for name, array in record.state.arrays().items():
        if (array == blank[name]).all():
            print("as a blank state:", name)
    print([(a["event"], a["incident_id"], a["sequence"]) for a in continued["alerts"]])
    print("entries", [item["model_version"]["S"] for item in items])


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(float, sys.argv[2:]))
