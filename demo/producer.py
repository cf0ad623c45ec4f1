"""Send a history's observations through Kinesis, as fast as it goes or at a multiple of real time."""

import json
import math
import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from treeline.core.times import iso

MAX_BATCH = 500  # PutRecords' own limit
_FIRST_BACKOFF_S, _LAST_BACKOFF_S = 0.05, 2.0

Observation = tuple[int, str, Iterable[float]]  # milliseconds, server_id, values in metric order


@dataclass(slots=True)
class Sent:
    """How many records went out, and how far event time got."""

    records: int = 0
    throttled: int = 0
    event_ms: int = 0


def record(observed_at: int, server_id: str, values: Iterable[float], metrics: tuple[str, ...]) -> bytes:
    """One observation in the wire format; a missing value is null."""
    known = {
        name: None if math.isnan(value) else value for name, value in zip(metrics, map(float, values), strict=True)
    }
    body = {"schema_version": 1, "server_id": server_id, "observed_at": iso(observed_at), "metrics": known}
    return json.dumps(body, separators=(",", ":")).encode()


def send(
    kinesis: Any,
    stream: str,  # its name
    observations: Iterable[Observation],
    metrics: tuple[str, ...],  # names, in the order of the values
    *,
    speed: float | None,  # event seconds a second; None: as fast as the stream takes them
    sent: Sent,  # progress, changed in place
    mangle: Callable[[bytes], Iterable[bytes]] = lambda data: (data,),  # fault tests repeat, spoil or drop here
    before: Callable[[], None] = lambda: None,  # returns when the stream may take the next batch
    seed: int = 0,  # of the backoff's jitter
) -> None:
    """Send observations, which come in event-time order, until there are no more."""
    rng = random.Random(seed)
    for batch in _paced(observations, speed):
        entries = [
            {"Data": data, "PartitionKey": server_id}
            for observed_at, server_id, values in batch
            for data in mangle(record(observed_at, server_id, values, metrics))
        ]
        for start in range(0, len(entries), MAX_BATCH):
            before()
            _put(kinesis, stream, entries[start : start + MAX_BATCH], sent, rng)
        sent.event_ms = batch[-1][0]


def _paced(observations: Iterable[Observation], speed: float | None) -> Iterator[list[Observation]]:
    """Cut into batches; at a given speed, each when its time has come."""
    batch: list[Observation] = []
    first: tuple[float, int] | None = None
    for observation in observations:
        if speed is not None:
            first = first or (time.monotonic(), observation[0])
            due = first[0] + (observation[0] - first[1]) / 1000.0 / speed
            if batch and due > time.monotonic():
                yield batch
                batch = []
            time.sleep(max(0.0, due - time.monotonic()))
        batch.append(observation)
        if len(batch) >= MAX_BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _put(kinesis: Any, stream: str, entries: list[dict[str, Any]], sent: Sent, rng: random.Random) -> None:
    """PutRecords, again for what was refused, until everything is in."""
    backoff_s = _FIRST_BACKOFF_S
    while entries:
        answer = kinesis.put_records(StreamName=stream, Records=entries)
        refused = [e for e, r in zip(entries, answer["Records"], strict=True) if "ErrorCode" in r]
        sent.records += len(entries) - len(refused)
        if refused:
            sent.throttled += len(refused)
            time.sleep(rng.uniform(0, backoff_s))
            backoff_s = min(2 * backoff_s, _LAST_BACKOFF_S)
        entries = refused
