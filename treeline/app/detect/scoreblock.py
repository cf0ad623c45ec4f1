"""What one commit scored: every observation with its feature row, score and severity, as one binary item.

The stored feature row is the one that was sent to the scorer, bit for bit, so any score can be reproduced.
"""

import json
import struct
from dataclasses import dataclass, field
from enum import IntEnum
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from treeline.core.detection.features import Index
from treeline.core.errors import ModelMismatchError
from treeline.core.formats import require_format
from treeline.core.statistics import FloatArray
from treeline.core.times import iso

FORMAT = 2  # 1 did not say what peers had in common


class Status(IntEnum):
    """What became of an observation."""

    WARMING_UP = 0
    SCORED = 1
    LATE = 2  # scored against the state as it was; changed nothing
    TOO_LATE = 3  # older than the times that the state holds of its server: stored, counted, never scored


_FIELDS: tuple[tuple[str, str], ...] = (
    ("server", "<u2"),
    ("observed_at", "<i8"),
    ("status", "u1"),
    ("score", "<f8"),
    ("severity", "<f4"),
)
_WIDE = (("features", "<f4"), ("common", "<f2"))  # the last arrays; as wide as the model's rows, and its metrics


def row_bytes(features: int, metrics: int) -> int:
    """What one observation takes of a block's arrays."""
    wide = sum(width * np.dtype(kind).itemsize for width, (_, kind) in zip((features, metrics), _WIDE, strict=True))
    return sum(np.dtype(kind).itemsize for _, kind in _FIELDS) + wide


@dataclass(slots=True)
class ScoreBlock:
    """Arrays of one entry an observation; NaN score and features where the server was warming up."""

    servers: list[str]
    model_version: str
    version: int  # of the state that this block led to
    server: npt.NDArray[np.uint16]  # index into `servers`
    observed_at: npt.NDArray[np.int64]
    status: npt.NDArray[np.uint8]
    score: FloatArray
    severity: npt.NDArray[np.float32]
    features: npt.NDArray[np.float32]
    # What the server's peers had in common, in its residuals' scale (`treeline.core.expectation.peers`), shape
    # (n, metrics): to decide it again without them. No column where nobody asked for it.
    common: npt.NDArray[np.float16] = field(default_factory=lambda: np.empty((0, 0), dtype=np.float16))
    origins: dict[str, bytes] = field(default_factory=dict)  # by server; see treeline.app.detect.origin
    override: str = ""  # id of the override that decided; empty: the package's calibration and the stage's policy

    @classmethod
    def empty(
        cls,
        servers: list[str],
        model_version: str,
        rows: Index,
        observed_at: npt.NDArray[np.int64],
        *,
        features: int = 0,
        metrics: int = 0,
    ) -> "ScoreBlock":
        """A block of observations none of which is scored yet; keeps only the servers that occur.

        Args:
            servers: By row.
            model_version: The model that scores them.
            rows: The row of each observation, shape (n,).
            observed_at: Milliseconds, shape (n,).
            features: How many a row of the model has.
            metrics: How many the model has.
        """
        present, server = np.unique(rows, return_inverse=True)
        n = len(rows)
        return cls(
            servers=[servers[row] for row in present],
            model_version=model_version,
            version=0,
            server=server.astype(np.uint16),
            observed_at=observed_at.astype(np.int64),
            status=np.full(n, Status.WARMING_UP, dtype=np.uint8),
            score=np.full(n, np.nan),
            severity=np.full(n, np.nan, dtype=np.float32),
            features=np.full((n, features), np.nan, dtype=np.float32),
            common=np.zeros((n, metrics), dtype=np.float16),
        )

    @classmethod
    def too_late(cls, keys: list[tuple[str, int]], model_version: str) -> "ScoreBlock":
        """A block of (server, observed_at) that came too late to be scored."""
        servers = sorted({server for server, _ in keys})
        rows = np.array([servers.index(server) for server, _ in keys], dtype=np.intp)
        block = cls.empty(servers, model_version, rows, np.array([at for _, at in keys], dtype=np.int64))
        block.status[:] = Status.TOO_LATE
        return block

    def entries(self) -> list[tuple[str, int]]:
        """(server, observed_at) of every entry."""
        return [(self.servers[s], at) for s, at in zip(self.server.tolist(), self.observed_at.tolist(), strict=True)]

    def fill(
        self,
        positions: Index,
        features: npt.NDArray[np.float32],
        scores: FloatArray,
        severity: FloatArray,
        status: Status,
        common: FloatArray | None = None,
    ) -> None:
        """Enter the results of some observations."""
        if common is not None:
            self.common[positions] = common
        self.features[positions] = features
        self.score[positions] = scores
        self.severity[positions] = severity.astype(np.float32)
        self.status[positions] = status

    @property
    def tick(self) -> str:
        """Sort key in the scores table: first observation's time, model and version; unique in its group."""
        first = iso(int(self.observed_at.min()) if len(self.observed_at) else 0)
        return f"{first}#{self.model_version}#{self.version:010d}"

    def pack(self) -> bytes:
        """The block as bytes: a JSON head, then the arrays one after the other."""
        head = {
            "format": FORMAT,
            "servers": self.servers,
            "model_version": self.model_version,
            "version": self.version,
            "rows": len(self.observed_at),
            "features": self.features.shape[1],
            "metrics": self.common.shape[1],
        }
        if self.origins:
            head["origins"] = {server: len(data) for server, data in self.origins.items()}
        if self.override:
            head["override"] = self.override
        text = json.dumps(head, separators=(",", ":")).encode()
        fields = (*_FIELDS, *_WIDE)
        arrays = [np.ascontiguousarray(getattr(self, name), dtype=kind).tobytes() for name, kind in fields]
        return struct.pack("<I", len(text)) + text + b"".join([*arrays, *self.origins.values()])

    @classmethod
    def unpack(cls, data: bytes) -> "ScoreBlock":
        """Read what `pack` wrote; raises ModelMismatchError for another format or another length."""
        try:
            (size,) = struct.unpack_from("<I", data)
            head = dict(json.loads(data[4 : 4 + size]))
        except (struct.error, ValueError, TypeError) as error:
            raise ModelMismatchError(f"score block is not readable: {error}") from error
        require_format("score block", head.get("format", 1), newest=FORMAT)
        rows, widths = head["rows"], (head["features"], head.get("metrics", 0))
        fields: list[tuple[str, str, tuple[int, ...]]] = [(name, kind, (rows,)) for name, kind in _FIELDS]
        fields += [(name, kind, (rows, width)) for (name, kind), width in zip(_WIDE, widths, strict=True)]
        size_bytes = sum(np.dtype(kind).itemsize * prod(shape) for _, kind, shape in fields)
        kept: dict[str, int] = head.get("origins", {})
        if len(data) != 4 + size + size_bytes + sum(kept.values()):
            raise ModelMismatchError(f"score block of {head['rows']} rows has {len(data)} bytes")
        offset, arrays = 4 + size, dict[str, Any]()
        for name, kind, shape in fields:
            array = np.frombuffer(data, dtype=kind, count=prod(shape), offset=offset)
            offset += array.nbytes
            arrays[name] = array.reshape(shape).copy()
        origins = {}
        for server, length in kept.items():
            origins[server], offset = data[offset : offset + length], offset + length
        named = {"origins": origins, "override": head.get("override", "")}
        return cls(head["servers"], head["model_version"], head["version"], **arrays, **named)
