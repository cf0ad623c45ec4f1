"""The books of a replay, kept from the deployed tables and buckets: where did every record go?"""

import itertools
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from demo.cloud import Deployment
from emulator.loopback.clients import clients_of
from treeline.app.detect.scoreblock import ScoreBlock, Status
from treeline.aws.detect.detector_records import DetectorRecords
from treeline.aws.detect.group_observations import GroupObservations
from treeline.aws.dynamodb import items_of
from treeline.core.alert import Alert
from treeline.settings import outputs

Key = tuple[str, int]  # server_id, observed_at ms


@dataclass(frozen=True, slots=True)
class Ledger:
    """Where every observation is."""

    stored: set[Key]  # keys in the observations table
    scored: dict[Key, tuple[float, float]]  # key -> (score, severity) of those scored (late ones too)
    late: set[Key]  # keys scored after a later observation of their server
    warming_up: set[Key]  # keys seen while their server warmed up
    quarantined: Counter[str]  # reason -> how many records
    values_set_aside: Counter[str]  # reason -> how many values of records that are stored without them
    # Keys that came when their server was too far ahead to score them: stored, counted, never scored.
    too_late: set[Key] = field(default_factory=set)
    scored_twice: set[Key] = field(default_factory=set)  # keys in more than one score block: must be empty

    @property
    def lost(self) -> set[Key]:
        """Stored, but neither scored nor warming up nor too late."""
        return self.stored - self.scored.keys() - self.warming_up - self.too_late


class Books:
    """Reads the deployed tables."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._dynamodb = deployment.client("dynamodb")
        self._s3 = deployment.client("s3")
        self._observations = GroupObservations(
            clients_of(deployment.cloud.endpoint_url)("dynamodb"), deployment.output(outputs.OBSERVATIONS_TABLE)
        )
        self._records = DetectorRecords(
            self._dynamodb,
            deployment.output(outputs.DETECTOR_STATE_TABLE),
            clock_ms=lambda: time.time_ns() // 1_000_000,
        )
        self._models: set[str] = set()

    def decided(self) -> int:
        """How many observations detect has committed, from its state items alone: cheap enough for a progress bar."""
        counts: dict[str, int] = {}  # of several models, each takes over the count of the one before
        pointers = [item for item in self._scan(outputs.CONTROLS_TABLE) if item["kind"]["S"] == "model"]
        self._models |= {item["model_version"]["S"] for item in pointers}
        for group, version in itertools.product(set(self.groups().values()), self._models):
            record = self._records.load(group, version)
            if record is None:
                continue
            for server, count in zip(record.state.servers, record.state.observations.tolist(), strict=True):
                counts[server] = max(count, counts.get(server, 0))
        return sum(counts.values())

    def stored(self) -> int:
        """How many observations are in the table: its own count, which the embedded cloud keeps current."""
        name = self._deployment.output(outputs.OBSERVATIONS_TABLE)
        return int(self._dynamodb.describe_table(TableName=name)["Table"]["ItemCount"])

    def quarantined(self) -> tuple[Counter[str], Counter[str]]:
        """Reason -> how many records were set aside, and how many values of records that are stored without them."""
        bucket = self._deployment.output(outputs.QUARANTINE_BUCKET)
        records: Counter[str] = Counter()
        values: Counter[str] = Counter()
        for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="quarantine/"):
            for entry in page.get("Contents", []):
                body = self._s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read()
                for entry in map(json.loads, filter(None, body.splitlines())):
                    (values if "metric" in entry else records)[entry["reason"]] += 1
        return records, values

    def groups(self) -> dict[str, int]:
        """Server -> group."""
        return {
            item["server_id"]["S"]: int(item["group"]["N"])
            for item in self._scan(outputs.SERVERS_TABLE)
            if "group" in item
        }

    def incidents(self) -> dict[str, list[Alert]]:
        """Incident -> its alerts in order, as the incidents table keeps them."""
        return {
            item["incident_id"]["S"]: [
                Alert.from_json(json.loads(event["S"])) for event in item.get("history", {}).get("L", [])
            ]
            for item in self._scan(outputs.INCIDENTS_TABLE)
        }

    def ledger(self) -> Ledger:
        """Everything, from the tables, group by group: a candidate's score blocks have groups of their own."""
        ledger = Ledger(set(), {}, set(), set(), *self.quarantined())

        def note(server: str, observed_at: int, _: str) -> bool:
            ledger.stored.add((server, observed_at))
            return True  # its key is all that is asked for

        for group in sorted(set(self.groups().values())):
            self._observations.read(group, 0, (), skip=note, limit=1_000)
            # Not by Scan: the emulator reads the whole table anew for each page of one.
            blocks = items_of(
                self._dynamodb,
                TableName=self._deployment.output(outputs.SCORES_TABLE),
                KeyConditionExpression="#group = :group",
                ExpressionAttributeNames={"#group": "group"},
                ExpressionAttributeValues={":group": {"N": str(group)}},
            )
            for item in blocks:
                self._enter(ledger, ScoreBlock.unpack(bytes(item["block"]["B"])))
        return ledger

    def _enter(self, ledger: Ledger, block: ScoreBlock) -> None:
        names = np.array(block.servers, dtype=object)[block.server]
        rows = zip(
            names,
            block.observed_at.tolist(),
            block.status.tolist(),
            block.score.tolist(),
            block.severity.tolist(),
            strict=True,
        )
        for server, at, status, score, severity in rows:
            key = (server, at)
            if key in ledger.scored or key in ledger.warming_up or key in ledger.too_late:
                ledger.scored_twice.add(key)
            if status == Status.WARMING_UP:
                ledger.warming_up.add(key)
            elif status == Status.TOO_LATE:
                ledger.too_late.add(key)
            else:
                ledger.scored[key] = (score, severity)
                if status == Status.LATE:
                    ledger.late.add(key)

    def _scan(self, table: str) -> Iterator[dict[str, Any]]:
        for page in self._dynamodb.get_paginator("scan").paginate(TableName=self._deployment.output(table)):
            yield from page["Items"]
