"""The second pass over a history: from the trained forest's scores to a model package with the fleet's own thresholds.

Runs the detector's own functions over the history, so that training and serving cannot drift apart.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt

from training.prepare.gate import is_periodic
from training.prepare.preparation import Prepared, fingerprint
from training.prepare.thresholds import Peaks, fitted
from training.processes import Progress, run_jobs, shares
from treeline.core.channels import measure, registry
from treeline.core.detection.calibration import Calibration
from treeline.core.detection.features import feature_names
from treeline.core.model.package import ModelPackage
from treeline.core.state.fleet import FleetState, Phase
from treeline.core.state.layout import NEVER
from treeline.core.statistics import FloatArray

CHANNEL_FLOOR_SHARE = 0.2  # of the channel's training spread
SMALLEST_CHANNEL_SD = 0.1  # a server whose metrics never moved must not find the first movement infinitely strange
FITTED = "fitted_calibration"  # in the manifest: the fleet's own thresholds, which a page budget starts from
Score = Callable[[npt.NDArray[np.float32]], FloatArray]


def calibrate_package(
    prepared: Prepared,
    score: Score,
    *,
    model_version: str,
    samples_per_tree: int,
    floors: Calibration | None = None,
    manifest: dict[str, object] | None = None,
    workers: int = 1,
    progress: Progress = lambda *_: None,
) -> ModelPackage:
    """Second pass: score the history with the trained forest and seed every server's calibration.

    Args:
        prepared: The first pass.
        score: The forest; rows (n, 2 * metrics) -> scores (n,).
        model_version: Name of the model.
        samples_per_tree: Of the forest, as it was grown: they limit its scores.
        floors: What the fleet's own does not lie below; when None those that the channels declare.
        manifest: Provenance to keep.
        workers: Processes to share the servers out to; they do not change the result.
        progress: Told what is going on, and how far.
    """
    floors = replace(floors or Calibration(), score_limit=float(np.log2(1 + samples_per_tree)))
    servers = len(prepared.state.servers)
    if workers > 1:
        parts = [prepared.of_servers(share) for share in shares(servers, workers)]
        done = run_jobs([partial(_seed_calibration, part, score, floors) for part in parts], progress)
        states, every_peaks, every_moments = zip(*done, strict=True)
        state, peaks, moments = FleetState.joined(states), Peaks.together(every_peaks), np.concatenate(every_moments)
    else:
        state, peaks, moments = _seed_calibration(prepared, score, floors, progress)
    mean, sd = _mean_and_sd(moments)
    calibration = replace(fitted(peaks, floors), score_mean=mean, score_sd=sd)
    return ModelPackage(
        model_version=model_version,
        metrics=prepared.metrics,
        features=feature_names(prepared.metrics),
        step_s=prepared.step_s,
        calibration=calibration,
        seeds=state,
        typical=_typical(state),
        fingerprint=fingerprint(prepared.training_rows),
        manifest={
            "servers": servers,
            "from_ms": prepared.learned.from_ms,
            "to_ms": prepared.learned.to_ms,
            "observations": prepared.learned.observations,
            "training_rows": len(prepared.training_rows),
            FITTED: calibration.to_json(),
            **(manifest or {}),
        },
    )


def _seed_calibration(
    prepared: Prepared, score: Score, calibration: Calibration, progress: Progress
) -> tuple[FleetState, Peaks, FloatArray]:
    """Run score and channels over the history.

    Returns:
        The state, which is changed in place; how high they rose; and of each server's scores their number, sum and sum
        of squares, shape (servers, 3).
    """
    state, present = prepared.state, prepared.present
    scores = np.full(present.shape, np.nan)
    flat = prepared.rows[present]
    parts = []
    for start in range(0, len(flat), 50_000):
        parts.append(score(flat[start : start + 50_000]))
        progress("scores", start / max(len(flat), 1))
    scores[present] = np.concatenate(parts) if parts else []
    measures = _seed_channels(prepared)
    _gate(prepared, measures)
    off = present[..., None] & (state.channel_gated > 0)
    every = np.empty((*present.shape, 1 + measures.shape[2]), dtype=np.float32)
    every[..., 0], every[..., 1:] = _seed_scores(prepared, scores, calibration), np.where(off, -np.inf, measures)
    moments = np.stack([present.sum(axis=0), np.nansum(scores, axis=0), np.nansum(scores**2, axis=0)], axis=1)
    for place, channel in enumerate(registry.every_channel()):
        if channel.is_model_evidence:
            every[..., place][~prepared.held_out] = np.nan
    peaks = Peaks.of(prepared.times_ms, every, step_s=prepared.step_s)
    for name in ("observations", "severity", "above_p2", "above_p1", "incident", "quiet", "sequence"):
        getattr(state, name)[:] = 0
    state.severity_bucket[:] = NEVER
    return state, peaks, moments


def _mean_and_sd(moments: FloatArray) -> tuple[float, float]:
    """Of all servers' scores together; 0 and 0 where there are none."""
    count, total, squares = moments.sum(axis=0).tolist()
    if not count:
        return 0.0, 0.0
    mean = total / count
    return mean, float(np.sqrt(max(squares / count - mean * mean, 0.0)))


def _typical(state: FleetState) -> dict[str, float | list[float]]:
    """Medians over the fleet, for a server the model has not met."""
    ready = state.phase == Phase.READY
    typical: dict[str, float | list[float]] = {
        name: float(np.median(getattr(state, name)[ready]))
        for channel in registry.every_channel()
        for name in channel.trained
    }
    for name in ("channel_mean", "channel_var", "channel_floor"):
        typical[name] = [float(value) for value in np.median(getattr(state, name)[ready], axis=0)]
    return typical


def _seed_channels(prepared: Prepared) -> npt.NDArray[np.float32]:
    """Run the channels' averages over the history, floors known; the measures, (times, servers, channels)."""
    state, magnitudes, present = prepared.state, prepared.magnitudes, prepared.present
    standardized = np.array([channel.is_standardized for channel in registry.CHANNELS])
    for server in range(magnitudes.shape[1]):
        own = magnitudes[present[:, server], server].astype(np.float64)
        if len(own):
            sd = own.std(axis=0)
            state.channel_floor[server] = np.maximum(CHANNEL_FLOOR_SHARE * sd, SMALLEST_CHANNEL_SD)
            state.channel_mean[server], state.channel_var[server] = own.mean(axis=0), sd**2
            state.channel_mean[server, standardized], state.channel_var[server, standardized] = 0.0, 1.0
    state.habit[:], state.habit_recent[:], state.habit_slot[:] = 0.0, 0.0, NEVER
    measures = np.full(magnitudes.shape, np.nan, dtype=np.float32)
    times = prepared.times_ms
    for t in range(len(magnitudes)):
        rows = np.flatnonzero(present[t])
        if len(rows):
            aged, at = np.full(len(rows), prepared.step_s), np.full(len(rows), times[t])
            measured = measure.measure(state, rows, at, magnitudes[t, rows])
            measure.learn(state, rows, at, magnitudes[t, rows], measured, aged)
            measures[t, rows] = measured.counted
    return measures


def _seed_scores(prepared: Prepared, scores: FloatArray, calibration: Calibration) -> FloatArray:
    """Seed each server's slow mean of scores; the score channel's measures, shape (times, servers).

    The mean is that of the rows which were held out, where there are any: a forest gives what it was grown on lower
    scores than anything that comes, and a canary would take the difference for a fault of the model.
    """
    state = prepared.state
    for server in range(scores.shape[1]):
        held_out = prepared.held_out[:, server]
        own = scores[held_out if held_out.any() else prepared.present[:, server], server]
        if len(own):
            state.score_mean[server], state.score_var[server] = own.mean(), own.var()
    measures = [registry.SCORE.measure(state, slice(None), row, calibration.score_scale, 0.0)[0] for row in scores]
    return np.stack(measures) if len(measures) else scores


def _gate(prepared: Prepared, measures: FloatArray) -> None:
    """Switch a channel off where its own training exceedances come at the same times of day."""
    times = prepared.times_ms
    gated = [place for place, channel in enumerate(registry.CHANNELS) if channel.can_be_gated]
    for server in range(measures.shape[1]):
        for place in gated:
            own = np.nan_to_num(measures[:, server, place], nan=-np.inf)
            prepared.state.channel_gated[server, place] = is_periodic(times, own)
