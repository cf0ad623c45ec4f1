"""Small ready fleets and a way to run the detector over them, round by round, without a forest or a table."""

from dataclasses import dataclass, field

import numpy as np

from treeline.core.channels import registry
from treeline.core.channels.channel import TYPICAL_CHANGE_SD
from treeline.core.detection import detector
from treeline.core.detection.calibration import Calibration
from treeline.core.detection.policy import Change, PolicySettings
from treeline.core.expectation.rolling_limits import PARTS
from treeline.core.limits import MetricLimits
from treeline.core.severity import Thresholds
from treeline.core.state.fleet import FleetState, Phase
from treeline.core.state.layout import todays_layout

STEP_MS = 60_000
STEP_S = 60.0
START_MS = 1_700_006_400_000  # the start of a bucket


def ready_state(
    servers: int,
    metrics: int = 4,
    *,
    level: float = 50.0,
    spread: float = 2.0,
    rolling_window_s: float = 0.0,
    rolling_parts: int = PARTS,
) -> FleetState:
    """Servers that normally stand at `level` with a standard deviation of `spread`, last seen one step ago."""
    names = [f"s{i:02d}" for i in range(servers)]
    state = FleetState(metrics, servers=names, layout=todays_layout(rolling_window_s, rolling_parts))
    state.phase[:] = Phase.READY
    state.base_mean[:], state.base_spread[:] = level, spread
    state.day_var[:] = state.trailing_var[:] = 1.0
    state.change_var[:] = TYPICAL_CHANGE_SD**2
    is_standardized = np.array([channel.is_standardized for channel in registry.CHANNELS])
    state.channel_mean[:], state.channel_var[:] = (
        np.where(is_standardized, 0.0, 1.2),
        np.where(is_standardized, 1.0, 0.16),
    )
    state.score_mean[:], state.score_var[:] = 1.5, 0.04
    state.last_at[:] = START_MS - STEP_MS
    return state


# Of a model whose forest is the stand-in below: the channels over the metrics have their floors.
CALIBRATION = Calibration(
    thresholds={"score": Thresholds(p2=2.0, p1=3.0, decade=0.5), "relation": Thresholds(p2=2.0, p1=3.0, decade=0.5)}
)


def strangeness(rows: np.ndarray) -> np.ndarray:
    """A forest's stand-in: the score's measure is the mean size of a row's numbers."""
    size = np.abs(np.asarray(rows, dtype=np.float64)).mean(axis=1)
    return CALIBRATION.score_limit * size / (1.0 + size)


@dataclass
class Run:
    """A state, and everything that was decided from it."""

    state: FleetState
    policy: PolicySettings = field(default_factory=PolicySettings)
    calibration: Calibration = CALIBRATION
    limits: MetricLimits | None = None
    severities: dict[tuple[int, int], float] = field(default_factory=dict)
    rows: dict[tuple[int, int], bytes] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)

    def feed(self, servers, observed_at, values) -> None:
        """Decide a batch."""
        servers = np.asarray(servers, dtype=np.intp)
        observed_at = np.asarray(observed_at, dtype=np.int64)
        values = np.asarray(values, dtype=np.float32).reshape(len(servers), self.state.metrics)
        for batch in detector.rounds(servers, observed_at, values, step_ms=STEP_MS):
            done = detector.prepare(self.state, batch, step_s=STEP_S, limits=self.limits)
            scores = strangeness(done.features.rows)
            decided = detector.decide(self.state, done, scores, self.calibration, self.policy, step_ms=STEP_MS)
            for i, position in enumerate(done.ready):
                key = (int(batch.rows[position]), int(batch.observed_at[position]))
                assert key not in self.severities, "decided twice"
                self.severities[key] = float(decided.severity[i])
                self.rows[key] = done.features.rows[i].tobytes()
            self.changes.extend(decided.changes)

    def series(self, values, row: int = 0, *, step_ms: int = STEP_MS, start: int = START_MS) -> np.ndarray:
        """Feed one server's observations (times, metrics); its severities."""
        times = start + step_ms * np.arange(len(values))
        self.feed([row] * len(values), times, values)
        return np.array([self.severities[row, int(at)] for at in times if (row, int(at)) in self.severities])
