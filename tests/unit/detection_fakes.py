"""In-memory ports of the detect use case, a small trained fleet, and a way to run it record by record."""

import json
from collections.abc import Callable, Sequence

import numpy as np

from training.history.grid import Grid
from training.prepare.calibrating import calibrate_package
from training.prepare.preparation import prepare
from treeline.app.alert.muting import SuppressedIncident
from treeline.app.alert.writer import AlertWriter
from treeline.app.detect.ports import Pending, Record
from treeline.app.detect.scoreblock import ScoreBlock
from treeline.app.detect.season_blocks import SeasonBlocks
from treeline.app.detect.service import DetectService
from treeline.app.detect.ticks import Tick
from treeline.core.alert import Alert
from treeline.core.arrays import Home
from treeline.core.detection.policy import PolicySettings
from treeline.core.errors import PublishError, ScorerUnavailableError, StateConflictError
from treeline.core.model.package import ModelPackage
from treeline.core.profile import Metric
from treeline.core.times import iso
from treeline.settings.pipeline import Detection

USUAL = Detection()  # a stage's defaults
STEP_MS = 60_000
START_MS = 1_700_006_400_000
SAMPLES_PER_TREE = 511
LIMIT = 9.0  # of a score: log2(1 + SAMPLES_PER_TREE)
METRICS = ("cpu_percent", "memory_percent", "network_mbps", "disk_iops")


def fleet(servers: int, steps: int, seed: int = 1, *, step_ms: int = STEP_MS) -> Grid:
    """Noisy servers with a daily cycle, nothing wrong with them."""
    rng = np.random.default_rng(seed)
    times = START_MS + step_ms * np.arange(steps)
    daily = np.sin(2 * np.pi * np.arange(steps) * step_ms / 86_400_000)[:, None, None]
    level = rng.uniform(20, 60, (1, servers, len(METRICS)))
    noise = rng.normal(0, 1.5, (steps, servers, len(METRICS)))
    values = (level + 8 * daily + noise).astype(np.float32)
    return Grid(times, tuple(f"web-{i:02d}" for i in range(servers)), METRICS, values, step_ms / 1000)


def distance_score(rows: np.ndarray, typical: float = 1.0) -> np.ndarray:
    """A forest's stand-in: the score's measure is how large a row is, in what is typical."""
    size = np.abs(np.asarray(rows, dtype=np.float64)).mean(axis=1) / typical
    return LIMIT * size / (1.0 + size)


def trained(grid: Grid, version: str = "m1", *, rolling_window_s: float = 0.0) -> ModelPackage:
    """A package from a grid; goes through its wire format as in S3."""
    prepared = prepare(grid, seed=1, rolling_window_s=rolling_window_s)
    package = calibrate_package(prepared, distance_score, model_version=version, samples_per_tree=SAMPLES_PER_TREE)
    return ModelPackage.from_bytes(package.to_bytes())


class Store:
    """All of detect's tables, with faults to switch on."""

    def __init__(self, package: ModelPackage | None) -> None:
        self.package = package
        self.items: dict[tuple[str, int], tuple[int, np.ndarray]] = {}
        self.committed: dict[tuple[int, str], tuple[int, bytes, bytes | None, str]] = {}
        self.blocks: dict[str, ScoreBlock] = {}
        self.table_blocks: dict[tuple[int, str, int, str], bytes] = {}
        self.sequences: dict[str, int] = {}
        self.alerts: list[Alert] = []
        self.untold = "{}"
        self.scorer_down = False
        self.publisher_down = False
        self.die_after_commit = False
        self.steal_next_commit = 0

    def add(self, server: str, at: int, values: np.ndarray, received: int = START_MS) -> None:
        self.items[(server, at)] = (received, values)

    def read(
        self,
        group: int,
        start_ms: int,
        metrics: Sequence[str],
        *,
        skip: Callable[[str, int, str], bool],
        limit: int,
        until_ms: int | None = None,
    ) -> Pending:
        every = sorted(
            (at, server) for server, at in self.items if at >= start_ms and (until_ms is None or at < until_ms)
        )
        keys = [(at, s) for at, s in every if not skip(s, at, iso(self.items[(s, at)][0]))][:limit]
        return Pending(
            [server for _, server in keys],
            np.array([at for at, _ in keys], dtype=np.int64),
            np.array([self.items[(s, at)][0] for at, s in keys], dtype=np.int64),
            np.array([self.items[(s, at)][1] for at, s in keys], dtype=np.float32).reshape(len(keys), len(metrics)),
        )

    def load(self, group: int, model_version: str) -> Record | None:
        from treeline.core.state.fleet import FleetState

        found = self.committed.get((group, model_version))
        if found is None:
            return None
        _, state, block, outbox = found
        return Record(
            group,
            model_version,
            FleetState.unpack(state),
            None if block is None else ScoreBlock.unpack(block),
            [Alert.from_json(body) for body in json.loads(outbox)],
            suppressed={name: SuppressedIncident.from_json(body) for name, body in json.loads(self.untold).items()},
        )

    def commit(self, record: Record, previous_version: int) -> None:
        if self.steal_next_commit:
            self.steal_next_commit -= 1
            raise StateConflictError("stolen")
        key = (record.group, record.model_version)
        if key in self.committed and self.committed[key][0] != previous_version:
            raise StateConflictError("version")
        self._write(record)
        if self.die_after_commit:
            raise SystemExit("killed")

    def _write(self, record: Record) -> None:
        self.untold = json.dumps({name: entry.to_json() for name, entry in record.suppressed.items()})
        self.committed[(record.group, record.model_version)] = (
            record.state.version,
            record.state.pack(Home.STATE),
            None if record.block is None else record.block.pack(),
            json.dumps([alert.to_json() for alert in record.outbox]),
        )

    def clear_outbox(self, record: Record) -> None:
        self._write(record)

    def read_block(self, group: int, model_version: str, number: int, name: str) -> bytes | None:
        return self.table_blocks.get((group, model_version, number, name))

    def stored_blocks(self, group: int, model_version: str, number: int) -> list[tuple[str, bytes]]:
        key = group, model_version, number
        return [(name, block) for (*of, name), block in reversed(self.table_blocks.items()) if tuple(of) == key]

    def write_block(self, group: int, model_version: str, number: int, name: str, block: bytes) -> None:
        self.table_blocks[group, model_version, number, name] = block

    def put(self, group: int, block: ScoreBlock, now_ms: int) -> None:
        self.blocks[block.tick] = block

    def entries(self, group: int, first_ms: int, last_ms: int) -> set[tuple[str, int]]:
        return {key for block in self.blocks.values() for key in block.entries() if first_ms <= key[1] <= last_ms}

    def apply(self, alert: Alert) -> bool:
        self.sequences[alert.incident_id] = alert.sequence
        return True

    def publish(self, alert: Alert) -> None:
        if self.publisher_down:
            raise PublishError("refused")
        self.alerts.append(alert)

    def score(self, rows: np.ndarray) -> np.ndarray:
        if self.scorer_down:
            raise ScorerUnavailableError("down")
        assert 0 < len(rows) <= 50
        return distance_score(rows)

    def active(self) -> ModelPackage | None:
        return self.package

    def scored(self) -> dict[tuple[str, int], tuple[int, float, float]]:
        """Every observation in a score block: status, score, severity."""
        return {
            (block.servers[s], int(at)): (int(status), float(score), float(severity))
            for block in self.blocks.values()
            for s, at, status, score, severity in zip(
                block.server, block.observed_at, block.status, block.score, block.severity, strict=True
            )
        }


def service(store: Store, *, now_ms: int = START_MS, policy: PolicySettings | None = None) -> DetectService:
    """The use case over a store."""
    return DetectService(
        observations=store,
        records=store,
        tables=SeasonBlocks(store),
        scores=store,
        incidents=store,
        publisher=store,
        scorer=store,
        models=store,
        alerts=AlertWriter(identity="1/r/p", declared={name: Metric(name=name, unit="%") for name in METRICS}),
        policy=policy or PolicySettings(),
        clock_ms=lambda: now_ms,
        late_window_ms=1000 * USUAL.late_window_s,
        wait_ms=round(1000 * USUAL.watermark_wait_s),
        silent_after_ms=1000 * USUAL.silent_after_s,
        sleep=lambda seconds: None,
    )


TICK = Tick(0)
