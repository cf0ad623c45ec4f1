"""How long detect's own arithmetic takes for one round of a group: compared, decided and learned, the forest apart.

    python -m benchmarks.tick --servers 50 --metrics 38

Half of the metrics go by the season and half by the trailing day; each server has peers and a relation, so that no part
is skipped. The rounds are 30 s apart; at the end of a quarter hour the seasonal table turns, which is the slowest.
"""

import argparse
import json
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from treeline.core.detection import detector
from treeline.core.detection.calibration import Calibration
from treeline.core.detection.policy import PolicySettings
from treeline.core.expectation.expectation import Basis
from treeline.core.limits import MetricLimits
from treeline.core.profile import Metric
from treeline.core.state.fleet import FleetState, Phase

LIMIT_MS = 2.0
STEP_S, START_MS = 30.0, 1_790_000_040_000
ROUNDS, WARM_UP = 300, 60


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundTimes:
    """Milliseconds a round."""

    median: float
    mean: float
    slowest: float


def group_of(servers: int, metrics: int, rng: np.random.Generator) -> FleetState:
    """A group that has learned."""
    state = FleetState(metrics, servers=[f"srv-{i:03d}" for i in range(servers)])
    state.phase[:] = Phase.READY
    state.basis[:] = np.where(np.arange(metrics) % 2, Basis.SEASON, Basis.DAY)
    state.season_level[:], state.season_var[:], state.season_days[:] = 0.0, 1.0, 10.0
    state.relation[:] = np.eye(metrics) + rng.normal(0, 0.05, (servers, metrics, metrics))
    others = (np.arange(servers)[:, None] + 1 + np.arange(state.peer_rows.shape[-1])) % servers
    state.peer_rows[:], state.peer_slope[:] = others[:, None], 1.0
    return state


def measure(servers: int, metrics: int, *, seed: int = 1) -> RoundTimes:
    """Run rounds of a whole group, and time what is not the forest's."""
    rng = np.random.default_rng(seed)
    state, rows = group_of(servers, metrics, rng), np.arange(servers)
    limits = MetricLimits.of([Metric(name=f"m{i:02d}", minimum=-100.0) for i in range(metrics)])
    scores, step_ms = np.full(servers, 0.8), round(STEP_S * 1000)
    calibration, policy = Calibration(score_mean=0.8, score_sd=0.1), PolicySettings()
    taken = []
    for number in range(WARM_UP + ROUNDS):
        at = START_MS + number * step_ms
        values = rng.normal(0, 1, (servers, metrics)).astype(np.float32)
        batch = detector.Round(at // step_ms, rows, rows, np.full(servers, at), values)
        began = perf_counter()
        prepared = detector.prepare(state, batch, step_s=STEP_S, limits=limits)
        detector.decide(state, prepared, scores, calibration, policy, step_ms=step_ms)
        taken.append(1000 * (perf_counter() - began))
    counted = np.array(taken[WARM_UP:])
    return RoundTimes(median=float(np.median(counted)), mean=float(counted.mean()), slowest=float(counted.max()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", type=int, default=50)
    parser.add_argument("--metrics", type=int, default=38)
    args = parser.parse_args()
    found = measure(args.servers, args.metrics)
    figures = {name: round(getattr(found, name), 3) for name in RoundTimes.__slots__}
    body = {"servers": args.servers, "metrics": args.metrics, "ms_a_round": figures, "limit_ms": LIMIT_MS}
    print(json.dumps(body | {"within": found.median <= LIMIT_MS}, indent=1))


if __name__ == "__main__":
    main()
