"""The second pass over a history: from the trained forest's scores to a model package with the fleet's own thresholds.

Runs the detector's own functions over the history, so that training and serving cannot drift apart.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt

from training.prepare.gate import is_periodic
from training.prepare.preparation import Prepared, fingerprint
from training.prepare.thresholds import Peaks, fitted
from training.processes import Progress, run_jobs, shares
from treeline.core.channels import registry
from treeline.core.channels.measure import measure
from treeline.core.channels.score import ScoreChannel
from treeline.core.detection.calibration import Calibration, calibrate
from treeline.core.model.package import ModelPackage
from treeline.core.state.fleet import FleetState, Phase
from treeline.core.state.layout import NEVER
from treeline.core.statistics import FloatArray

CHANNEL_FLOOR_SHARE = 0.2  # of the channel's training spread
SMALLEST_CHANNEL_SD = 0.1  # a server whose metrics never moved must not find the first movement infinitely strange
SMALLEST_RISE_SD = 0.02  # the seeds of a forest alone move a score by this much
FITTED = "fitted_calibration"  # in the manifest: the fleet's own thresholds, which a page budget starts from
Score = Callable[[npt.NDArray[np.float32]], FloatArray]


def calibrate_package(
    prepared: Prepared,
    score: Score,
    *,
    model_version: str,
    calibration: Calibration | None = None,
    floors: Calibration | None = None,
    manifest: dict[str, object] | None = None,
    workers: int = 1,
    progress: Progress = lambda *_: None,
) -> ModelPackage:
    """Second pass: score the history with the trained forest and seed every server's calibration.

    Args:
        prepared: The first pass.
        score: The forest; rows (n, 12) -> scores (n,).
        model_version: Name of the model.
        calibration: Channel mapping; when None the fleet's own (`training.prepare.thresholds`).
        floors: What the fleet's own does not lie below; when None those that the channels declare.
        manifest: Provenance to keep.
        workers: Processes to share the servers out to; they do not change the result.
        progress: Told what is going on, and how far.
    """
    floors = floors or Calibration()
    servers, seeding = len(prepared.state.servers), calibration or floors
    if workers > 1:
        parts = [prepared.of_servers(share) for share in shares(servers, workers)]
        done = run_jobs([partial(_seed_calibration, part, score, seeding) for part in parts], progress)
        state, peaks = FleetState.joined([state for state, _ in done]), Peaks.together([peaks for _, peaks in done])
    else:
        state, peaks = _seed_calibration(prepared, score, seeding, progress)
    if calibration is None:
        calibration = fitted(peaks, floors)
    return ModelPackage(
        model_version=model_version,
        metrics=prepared.metrics,
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
) -> tuple[FleetState, Peaks]:
    """Run score and channels over the history; returns the state, which is changed in place, and how high they rose."""
    state, present = prepared.state, prepared.present
    scores = np.full(present.shape, np.nan)
    flat = prepared.rows[present]
    parts = []
    for start in range(0, len(flat), 50_000):
        parts.append(score(flat[start : start + 50_000]))
        progress("scores", start / max(len(flat), 1))
    scores[present] = np.concatenate(parts) if parts else []
    measures = _seed_channels(prepared)
    rises = _seed_rise(prepared, scores, measures, present, calibration, progress)
    _gate(prepared, measures)
    off = present[..., None] & (state.channel_gated > 0)
    everything = np.concatenate([rises[..., None], np.where(off, -np.inf, measures)], axis=2)
    peaks = Peaks.of(prepared.times_ms, everything, step_s=prepared.step_s)
    for name in ("observations", "severity", "above_p2", "above_p1", "incident", "quiet", "sequence"):
        getattr(state, name)[:] = 0
    state.severity_bucket[:] = NEVER
    return state, peaks


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
    for server in range(magnitudes.shape[1]):
        own = magnitudes[present[:, server], server].astype(np.float64)
        if len(own):
            sd = own.std(axis=0)
            state.channel_floor[server] = np.maximum(CHANNEL_FLOOR_SHARE * sd, SMALLEST_CHANNEL_SD)
            state.channel_mean[server], state.channel_var[server] = own.mean(axis=0), sd**2
    state.habit[:], state.habit_recent[:], state.habit_slot[:] = 0.0, 0.0, NEVER
    measures = np.full(magnitudes.shape, np.nan, dtype=np.float32)
    times = prepared.times_ms
    for t in range(len(magnitudes)):
        rows = np.flatnonzero(present[t])
        if len(rows):
            aged = np.full(len(rows), prepared.step_s)
            measures[t, rows] = measure(state, rows, np.full(len(rows), times[t]), magnitudes[t, rows], aged)
    return measures


def _seed_rise(
    prepared: Prepared,
    scores: FloatArray,
    measures: FloatArray,
    present: npt.NDArray[np.bool_],
    calibration: Calibration,
    progress: Progress,
) -> FloatArray:
    """Run the score channel over the history: how much does the score rise above its own past, normally?

    Returns:
        The rises in units of that, shape (times, servers); NaN where a server was absent.
    """
    state, times = prepared.state, prepared.times_ms
    is_onset = calibration.score_channel is ScoreChannel.ONSET
    state.residual_sd[:] = 1.0 if is_onset else SMALLEST_RISE_SD  # onset's rises then are in units of the score
    rises = np.full(scores.shape, np.nan)  # in units of the score, as residual_sd is
    elapsed = np.full(scores.shape[1], prepared.step_s)
    for server in range(scores.shape[1]):
        own = scores[present[:, server], server]
        if len(own):
            state.score_mean[server], state.score_var[server] = own.mean(), own.var()
    for t in range(len(scores)):
        rows = np.flatnonzero(present[t])
        if len(rows):
            at = np.full(len(rows), times[t])
            mean = state.score_mean[rows].copy()
            out = calibrate(state, rows, at, scores[t, rows], measures[t, rows], calibration, elapsed_s=elapsed[rows])
            rises[t, rows] = out.rise if is_onset else scores[t, rows] - mean
        if t % 500 == 0:
            progress("calibration", t / len(scores))
    progress("calibration", 1.0)
    for server in range(scores.shape[1]):
        own = rises[~np.isnan(rises[:, server]), server]
        fallback = np.sqrt(state.score_var[server])
        state.residual_sd[server] = max(float(own.std()) if len(own) > 1 else float(fallback), SMALLEST_RISE_SD)
    return rises / state.residual_sd


def _gate(prepared: Prepared, measures: FloatArray) -> None:
    """Switch a channel off where its own training exceedances come at the same times of day."""
    times = prepared.times_ms
    gated = [place for place, channel in enumerate(registry.CHANNELS) if channel.can_be_gated]
    for server in range(measures.shape[1]):
        for place in gated:
            own = np.nan_to_num(measures[:, server, place], nan=-np.inf)
            prepared.state.channel_gated[server, place] = is_periodic(times, own)
