"""Where fetched chunks go: parquet files by resolution and block of servers, whole or not at all.

    <root>/_plan.json
    <root>/period_s=60/block=00007/20261108T1200Z.parquet    history format, rows by server and time
    <root>/_journal/60/block=00007/20261108T1200Z.json       written after it: what the chunk held

A chunk is finished when both exist. Names depend on the chunk alone, so a chunk fetched again replaces itself, and
each `period_s=...` folder by itself is a history that every offline command takes.
"""

import io
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from training.history.cloudwatch.plan import Chunk, FetchPlan
from training.history.cloudwatch.quotas import TIERS
from treeline.core.errors import UsageError

PLAN = "_plan.json"  # readers of parquet folders pass over names with an underscore
JOURNAL = "_journal"


class Files(Protocol):
    """A folder or a bucket prefix; `write` makes a file appear whole or not at all."""

    def write(self, name: str, content: bytes) -> None:
        """Create or replace."""

    def read(self, name: str) -> bytes | None:
        """The content; None when there is no such file."""

    def names(self, below: str) -> Iterator[str]:
        """Every file below a folder."""

    def remove(self, name: str) -> None:
        """Remove a file; no error where there is none."""


@dataclass(frozen=True, slots=True)
class Folder:
    """Files on disk."""

    root: Path

    def write(self, name: str, content: bytes) -> None:
        """Write beside, sync, rename."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(path.name + ".unfinished")
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)

    def read(self, name: str) -> bytes | None:
        """The content; None when there is no such file."""
        try:
            return (self.root / name).read_bytes()
        except FileNotFoundError:
            return None

    def names(self, below: str) -> Iterator[str]:
        """Every finished file below a folder."""
        for path in sorted((self.root / below).rglob("*")):
            if path.is_file() and path.suffix != ".unfinished":
                yield path.relative_to(self.root).as_posix()

    def remove(self, name: str) -> None:
        """Remove a file; no error where there is none."""
        (self.root / name).unlink(missing_ok=True)


class S3Folder:
    """Files below a prefix of an S3 bucket; an S3 put is whole or not at all by itself."""

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix.strip("/") + "/" if prefix.strip("/") else ""

    def write(self, name: str, content: bytes) -> None:
        """Put the object."""
        self._client.put_object(Bucket=self._bucket, Key=self._prefix + name, Body=content)

    def read(self, name: str) -> bytes | None:
        """The object; None when there is none."""
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + name)
        except self._client.exceptions.NoSuchKey:
            return None
        return bytes(answer["Body"].read())

    def names(self, below: str) -> Iterator[str]:
        """Every key below a prefix, without this store's own prefix."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=f"{self._prefix}{below}/"
        )
        for page in pages:
            for found in page.get("Contents", []):
                yield found["Key"].removeprefix(self._prefix)

    def remove(self, name: str) -> None:
        """Delete the object; no error where there is none."""
        self._client.delete_object(Bucket=self._bucket, Key=self._prefix + name)


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedChunk:
    """What a finished chunk held."""

    period_s: int  # as fetched (coarser where the data had aged into the next tier)
    path: str
    # By server, then by metric column: how many points came, the first and the last (ms; -1: none).
    points: dict[str, list[tuple[int, int, int]]]
    calls: int  # requests it took, pages and refused ones included


@dataclass(frozen=True, slots=True)
class HistoryStore:
    """The plan, the parquet files and the journal of one fetch."""

    files: Files

    def save_plan(self, plan: FetchPlan) -> None:
        """Keep the plan: a resumed fetch follows it."""
        self.files.write(PLAN, json.dumps(plan.to_json(), separators=(",", ":")).encode())

    def plan(self) -> FetchPlan | None:
        """The plan kept here."""
        content = self.files.read(PLAN)
        if content is None:
            return None
        try:
            return FetchPlan.from_json(json.loads(content))
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{PLAN} cannot be read ({error}); remove it to plan anew") from error

    def finish(
        self,
        plan: FetchPlan,
        chunk: Chunk,
        *,
        period_s: int,
        table: pa.Table,
        points: dict[str, list[tuple[int, int, int]]],
        calls: int,
    ) -> FetchedChunk:
        """Write a chunk's rows, then its journal entry."""
        planned, path = _data_name(plan.period_s(chunk), chunk), _data_name(period_s, chunk)
        if planned != path:  # a killed run may have left its finer rows, and each moment stands once
            self.files.remove(planned)
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="zstd")
        self.files.write(path, buffer.getvalue())
        entry = FetchedChunk(period_s=period_s, path=path, points=points, calls=calls)
        self.files.write(_journal_name(chunk), json.dumps(asdict(entry), separators=(",", ":")).encode())
        return entry

    def finished(self, plan: FetchPlan) -> dict[Chunk, FetchedChunk]:
        """The plan's chunks that are done: both their files are here."""
        by_name = {_journal_name(chunk): chunk for chunk in plan.chunks}
        periods = {plan.period_s(chunk) for chunk in plan.chunks} | {tier.period_s for tier in TIERS}
        written = {name for period in periods for name in self.files.names(f"period_s={period}")}
        done = {}
        for name in self.files.names(JOURNAL):
            chunk, content = by_name.get(name), self.files.read(name)
            if chunk is None or content is None:
                continue
            body = json.loads(content)
            if body["path"] in written:
                body["points"] = {s: [(n, a, b) for n, a, b in rows] for s, rows in body["points"].items()}
                done[chunk] = FetchedChunk(**body)
        return done


def _journal_name(chunk: Chunk) -> str:
    return f"{JOURNAL}/{chunk.period_s}/{chunk.name}.json"


def _data_name(period_s: int, chunk: Chunk) -> str:
    return f"period_s={period_s}/{chunk.name}.parquet"


def rows_table(
    servers: list[str], times_ms: list[NDArray[np.int64]], values: list[NDArray[np.float32]], metrics: tuple[str, ...]
) -> pa.Table:
    """Rows in the history format: of each server its times and values (rows, metrics)."""
    lengths = [len(times) for times in times_ms]
    codes = np.repeat(np.arange(len(servers), dtype=np.int32), lengths)
    names = pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(servers, pa.string()))
    joined = np.concatenate(values) if values else np.empty((0, len(metrics)), np.float32)
    times = pa.array(np.concatenate(times_ms) if times_ms else np.empty(0, np.int64))
    columns = [pa.array(joined[:, i], from_pandas=True) for i in range(len(metrics))]
    return pa.table(
        [times.cast(pa.timestamp("ms", tz="UTC")), names, *columns], names=["timestamp", "server_id", *metrics]
    )
