"""From measures to a severity: each channel's measure is mapped to the fixed scale, and the largest severity counts.

The thresholds are the fleet's own. From the channels' floors training raises them to what the fleet's unlabelled past
exceeded so often (`training.prepare.thresholds`), and `treeline calibrate` to a page budget.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from treeline.core.arrays import together
from treeline.core.channels import novelty, registry
from treeline.core.channels.channel import Channel
from treeline.core.channels.score import ScoreScale
from treeline.core.channels.score_rule import ScoreRule, ScoreSettings
from treeline.core.detection.features import Index
from treeline.core.errors import SettingsError
from treeline.core.severity import LARGEST_SEVERITY, P1_SEVERITY, P2_SEVERITY, Thresholds, severity_of
from treeline.core.state.fleet import FleetState
from treeline.core.statistics import FloatArray

_SCORES = ("score_limit", "score_mean", "score_sd")
BELOW_P2 = float(np.nextafter(np.float32(P2_SEVERITY), np.float32(0.0)))  # the highest severity that is no tier's


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How measures map to the fixed scale; part of the model package."""

    score_rule: ScoreSettings = field(default_factory=ScoreSettings)  # what the forest's score is held against
    score_limit: float = 9.0  # no score is larger: log2(1 + samples a tree)
    score_mean: float = 0.0  # of all scores of training
    score_sd: float = 0.0  # of the same; 0 where they are not known
    # By channel. One that is not given has its floors, the same for every fleet (decision 20); so has a channel that a
    # stored calibration did not know yet.
    thresholds: Mapping[str, Thresholds] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Complete the thresholds; raises SettingsError for a channel that there is not."""
        floors = {channel.name: channel.floors for channel in registry.every_channel()}
        unknown = sorted(set(self.thresholds) - set(floors))
        if unknown:
            raise SettingsError(f"there is no channel {unknown[0]}; there are {', '.join(floors)}")
        object.__setattr__(self, "thresholds", floors | dict(self.thresholds))

    def __getitem__(self, channel: str) -> Thresholds:
        """The thresholds of a channel."""
        return self.thresholds[channel]

    def moved(self, move: Callable[[Thresholds], Thresholds]) -> "Calibration":
        """The same with every channel's thresholds moved."""
        thresholds = {name: move(thresholds) for name, thresholds in self.thresholds.items()}
        return replace(self, thresholds=thresholds)

    def under(self, score_rule: ScoreSettings) -> "Calibration":
        """What holds where a stage has chosen by what the score is decided; `rarity` is the package's own.

        A factor says nothing about how rare a score is, so novelty asks for nothing then.
        """
        if score_rule.rule is ScoreRule.RARITY:
            return self
        factors = Thresholds(p2=score_rule.sd_factor, p1=score_rule.p1_sd_factor)
        return replace(self, score_rule=score_rule, thresholds={**self.thresholds, registry.SCORE.name: factors})

    @property
    def score_scale(self) -> ScoreScale:
        """What turns a score into its channel's measure."""
        p2 = self[registry.SCORE.name].p2
        return ScoreScale(self.score_rule, self.score_limit, self.score_mean, self.score_sd, p2)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        scores = {"score_rule": asdict(self.score_rule)} | {name: getattr(self, name) for name in _SCORES}
        return scores | {name: asdict(k) for name, k in self.thresholds.items()}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "Calibration":
        """Read what `to_json` wrote, by whichever version: a channel that is no more is left out."""
        names = [channel.name for channel in registry.every_channel() if channel.name in body]
        return cls(
            score_rule=ScoreSettings.from_json(body.get("score_rule", {})),
            **{name: float(body[name]) for name in _SCORES if name in body},
            thresholds={name: Thresholds(**body[name]) for name in names},
        )


@dataclass(frozen=True, slots=True)
class Calibrated:
    """Severity and what it was made from, one entry a server."""

    severity: FloatArray  # on the fixed scale, shape (n,), at most `LARGEST_SEVERITY`
    without_novelty: FloatArray  # what it would be if the server's own earlier peaks held nothing back
    held: npt.NDArray[np.intp]  # the channel that they keep from a tier, a position as below; -1 for none
    # Each channel's, in its standard deviations, shape (n, channels), in the order of `registry.every_channel()`: the
    # score's rise first.
    measures: FloatArray
    threshold: FloatArray  # the raw score that would have meant severity 1.5
    channel: npt.NDArray[np.intp]  # which channel gave the severity, a position in the same order

    @property
    def rise(self) -> FloatArray:
        """The score channel's measure."""
        return self.measures[:, 0]

    def deciding(self, i: int) -> Channel:
        """The channel that gave one server's severity."""
        return registry.every_channel()[int(self.channel[i])]


# long: a third of it is its arguments and their docstring
def calibrate(
    state: FleetState,
    rows: Index,
    observed_at: npt.NDArray[np.int64],
    scores: FloatArray,
    measures: FloatArray,
    calibration: Calibration,
    *,
    elapsed_s: FloatArray,
    shared_excess: FloatArray | float = 0.0,
    learn: bool = True,
) -> Calibrated:
    """Turn the scores of some servers' observations into severities; then remember the scores.

    Args:
        state: Changed in place when `learn`.
        rows: Distinct rows of the servers, shape (n,).
        observed_at: Milliseconds, shape (n,).
        scores: The forest's scores, shape (n,), finite.
        measures: The other channels' measures of the same observations, shape (n, channels).
        calibration: The model's mapping.
        elapsed_s: Seconds since each server's previous observation.
        shared_excess: By how much the scores of each server's group lie above their averages, one for all or shape
            (n,); it counts where the score is held against the server's own (`ScoreRule.EMA`).
        learn: False leaves the state as it is.
    """
    at, score = together(rows), scores.astype(np.float32)
    channels = registry.every_channel()
    every = np.empty((len(rows), 1 + measures.shape[1]), dtype=np.float32)
    every[:, 1:] = measures
    scale = calibration.score_scale
    every[:, 0], threshold = registry.SCORE.measure(state, at, score, scale, shared_excess)
    thresholds = [calibration[channel.name] for channel in channels]
    severities = severity_of(np.ascontiguousarray(every.T), thresholds)
    severities[1:][state.channel_gated[at].T > 0] = 0.0
    raw, loudest = severities.max(axis=0), severities.argmax(axis=0)
    decade = np.array([each.decade or 0.0 for each in thresholds], dtype=np.float32)
    if learn:
        novelty.turn(state, rows, observed_at, decade)
    for i, each in enumerate(thresholds):
        if each.decade is not None and channels[i].is_model_evidence:
            peak = state.peak[at, i]
            for tier, most in ((each.p1, P1_SEVERITY), (each.p2, BELOW_P2)):
                held = every[:, i] <= np.minimum(peak, tier + novelty.MOST * each.decade)
                severities[i][held] = np.minimum(severities[i][held], most)
    severity = severities.max(axis=0)
    is_held = ((raw > P1_SEVERITY) & (severity <= P1_SEVERITY)) | ((raw >= P2_SEVERITY) & (severity < P2_SEVERITY))
    result = Calibrated(
        severity=np.minimum(severity, LARGEST_SEVERITY),
        held=np.where(is_held, loudest, -1),
        without_novelty=np.minimum(raw, LARGEST_SEVERITY),
        measures=every,
        threshold=threshold,
        channel=severities.argmax(axis=0),
    )
    if learn:
        novelty.remember(state, rows, observed_at, every)
        registry.SCORE.remember(state, at, score, elapsed_s, scale, threshold)
    return result
