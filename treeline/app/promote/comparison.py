"""What a slice of a canary showed, from the score blocks both models left behind."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from treeline.app.detect.scoreblock import ScoreBlock, Status
from treeline.core.model.package import ModelPackage
from treeline.core.severity import P2_SEVERITY

# Fewer of a server's scores say nothing about where its mean is.
MIN_SCORES = 10
# What counts as a day of scores: the mean of less depends on the time of day.
FULL_DAY_MS = 20 * 3_600_000

Scored = dict[tuple[str, int], tuple[float, float]]  # (server, observed_at) -> (score, severity)
Sums = dict[str, tuple[int, float, float]]  # by server: observations, sum of candidate's and of champion's scores


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A slice's observations that both models scored."""

    observations: int
    disagreeing: int
    sums: Sums


def scored(blocks: Iterable[ScoreBlock], start_ms: int, end_ms: int, servers: set[str] | None = None) -> Scored:
    """Scores and severities of the observations in [start, end); of some servers only, where they are named."""
    found: Scored = {}
    for block in blocks:
        inside = (block.status == Status.SCORED) & (block.observed_at >= start_ms) & (block.observed_at < end_ms)
        for i in np.flatnonzero(inside).tolist():
            server = block.servers[int(block.server[i])]
            if servers is None or server in servers:
                found[server, int(block.observed_at[i])] = float(block.score[i]), float(block.severity[i])
    return found


def compare(candidate: Scored, champion: Scored) -> Compared:
    """Put both models' decisions on the same observations side by side."""
    disagreeing = 0
    sums: Sums = {}
    both = candidate.keys() & champion.keys()
    for key in both:
        (ours, our_severity), (theirs, their_severity) = candidate[key], champion[key]
        disagreeing += (our_severity >= P2_SEVERITY) != (their_severity >= P2_SEVERITY)
        count, mine, other = sums.get(key[0], (0, 0.0, 0.0))
        sums[key[0]] = count + 1, mine + ours, other + theirs
    return Compared(observations=len(both), disagreeing=disagreeing, sums=sums)


def add(sums: Mapping[str, Sequence[float]], more: Sums) -> Sums:
    """Sums of two stretches of time together."""
    total: Sums = {server: (int(n), float(a), float(b)) for server, (n, a, b) in sums.items()}
    for server, (count, mine, other) in more.items():
        before = total.get(server, (0, 0.0, 0.0))
        total[server] = before[0] + count, before[1] + mine, before[2] + other
    return total


def reference(champion: Scored, package: ModelPackage) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation of each server's scores under the champion, before the canary.

    Where these scores do not cover most of a day, as after a first deployment, it is that of the champion's training:
    the mean of one hour differs from another hour's by the time of day alone.
    """
    rows = package.seeds.rows()
    found = {
        server: (float(package.seeds.score_mean[row]), float(np.sqrt(package.seeds.score_var[row])))
        for server, row in rows.items()
    }
    by_server: dict[str, list[tuple[int, float]]] = {}
    for (server, at), (score, _) in champion.items():
        by_server.setdefault(server, []).append((at, score))
    for server, scores in by_server.items():
        times = [at for at, _ in scores]
        if len(scores) >= MIN_SCORES and max(times) - min(times) >= FULL_DAY_MS:
            values = [score for _, score in scores]
            found[server] = float(np.mean(values)), float(np.std(values))
    return found


def score_shift(sums: Sums, package: ModelPackage, before: Mapping[str, tuple[float, float]]) -> float:
    """How far the candidate's scores are from its own training, as far as the champion's did not move the same way.

    Both in standard deviations of the server's own scores, averaged over servers by their observations. What the
    fleet itself does meanwhile (a busy evening, a deployment) moves both models' scores and excuses the candidate. A
    champion's move accuses nobody: after a change for good it goes on learning while a new model's scores rest.

    Args:
        sums: What both models scored so far.
        package: The candidate's; its seeds know the scores' mean and variance at the end of training.
        before: The champion's mean and sd before the canary; a server without one counts as unmoved.
    """
    rows = package.seeds.rows()
    ours, theirs, weight = 0.0, 0.0, 0
    for server, (count, mine, other) in sums.items():
        if server not in rows or count < MIN_SCORES:
            continue
        row = rows[server]
        sd = max(float(np.sqrt(package.seeds.score_var[row])), 1e-6)
        ours += (mine - count * float(package.seeds.score_mean[row])) / sd
        if server in before:
            mean, champion_sd = before[server]
            theirs += (other - count * mean) / max(champion_sd, 1e-6)
        weight += count
    if not weight:
        return 0.0
    is_shared = ours * theirs > 0
    return math.copysign(max(abs(ours) - abs(theirs) * is_shared, 0.0), ours) / weight
