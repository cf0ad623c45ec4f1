"""Deciding a batch of observations: features, scores at most 50 rows a request, severities, alerts."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from treeline.app.alert.writer import AlertWriter
from treeline.app.detect.origin import Origins
from treeline.app.detect.override import Override
from treeline.app.detect.ports import Pending, Scorer
from treeline.app.detect.rules import Rules
from treeline.app.detect.scoreblock import ScoreBlock, Status
from treeline.app.detect.season_blocks import SeasonBlocks
from treeline.core.alert import Alert
from treeline.core.arrays import Home
from treeline.core.detection import detector
from treeline.core.detection.features import Index, feature_names
from treeline.core.detection.policy import PolicySettings
from treeline.core.expectation import local_time
from treeline.core.limits import MetricLimits
from treeline.core.model.package import ModelPackage
from treeline.core.payload import score_rows
from treeline.core.state.fleet import FleetState
from treeline.core.statistics import FloatArray


@dataclass(slots=True)
class DecidedBatch:
    """What came of a batch: its score block, the alerts to publish or store, and what was counted."""

    block: ScoreBlock
    alerts: list[Alert] = field(default_factory=list)
    imputed: int = 0  # missing values filled in
    held_back: int = 0  # observations that novelty kept from a tier


@dataclass(frozen=True, slots=True, kw_only=True)
class Decider:
    """Advances a group's state by a batch of its observations."""

    scorer: Scorer
    alerts: AlertWriter
    policy: PolicySettings  # the stage's
    override: Override | None  # what stands over it, and over the model's calibration
    clock_ms: Callable[[], int]
    tables: SeasonBlocks

    # long: half of it is its docstring, and the fields of the block and of an alert, one a line
    def decide(
        self,
        group: int,
        state: FleetState,
        model: ModelPackage,
        pending: Pending,
        rows: Index,
        new: Index,
        late: Index,
        zones: npt.NDArray[np.object_],
    ) -> DecidedBatch:
        """Decide the `new` observations in event-time order, and score the `late` ones against the state as it is.

        Args:
            group: The group, named on alerts that its servers share.
            state: Changed in place.
            model: The active model.
            pending: What was read.
            rows: The state's row of each observation read.
            new: Positions in `pending` of observations to decide.
            late: Positions of those that came after a later one of their server had been decided.
            zones: Each server's time zone, by the state's row.

        Raises:
            ScorerUnavailableError, ScorerContractError: The state is then to be thrown away.
        """
        homes = (Home.STATE, Home.TABLE) if state.filled else (Home.STATE,)  # of what changes
        before, rules = state.copy(*homes), Rules.of(model, self.policy, self.override)
        levels, excesses = dict[int, float](), dict[int, float]()
        every = np.concatenate([new, late])
        limits = MetricLimits.by_name(model.metrics, self.alerts.declared)
        block = ScoreBlock.empty(
            state.servers,
            model.model_version,
            rows[every],
            pending.observed_at[every],
            features=len(feature_names(model.metrics)),
            metrics=len(model.metrics),
        )
        block.override = rules.override
        decision = DecidedBatch(block)
        late_ready, late_features = detector.compare_late(
            state, rows[late], pending.observed_at[late], pending.values[late], step_s=model.step_s, limits=limits
        )
        detector.mark_seen(state, rows[late], pending.observed_at[late])
        late_scores = self._score(model, late_features.rows)
        block.fill(
            len(new) + late_ready,
            late_features.rows,
            late_scores,
            np.zeros(len(late_ready)),
            Status.LATE,
            late_features.compared.common,
        )
        # What a round leaves decides what the next one learns: rounds are scored one after the other.
        for batch in detector.rounds(rows[new], pending.observed_at[new], pending.values[new], step_ms=model.step_ms):
            state.utc_offset_s[batch.rows] = local_time.offsets_s(zones[batch.rows], batch.observed_at)
            done, index = detector.prepare(state, batch, step_s=model.step_s, limits=limits), batch.index
            state.last_received_at[batch.rows] = pending.received_at[new[index]]
            decision.imputed += int(done.features.imputed.sum())
            own = self._score(model, done.features.rows)
            scored_ms = self.clock_ms()
            decided = detector.decide(state, done, own, rules.calibration, rules.policy, step_ms=model.step_ms)
            decision.held_back += int((decided.calibrated.held >= 0).sum())
            levels[done.round.bucket] = state.cycle.level
            if state.cycle.score_excess:
                excesses[done.round.bucket] = state.cycle.score_excess
            block.fill(
                index[done.ready],
                done.features.rows,
                own,
                decided.severity,
                Status.SCORED,
                done.features.compared.common,
            )
            decision.alerts += [
                self.alerts.write(
                    change,
                    group=group,
                    state=state,
                    model=model,
                    prepared=done,
                    decided=decided,
                    scores=own,
                    received_ms=pending.received_at[new],
                    scored_ms=scored_ms,
                )
                for change in decided.changes
            ]
        declared = tuple(self.alerts.declared.values())
        origins = Origins(
            group, model.model_version, before, levels, excesses, self.policy, declared, zones, self.tables
        )
        block.origins = origins.packed(state, decision.alerts)
        return decision

    def _score(self, model: ModelPackage, rows: npt.NDArray[np.float32]) -> FloatArray:
        """Scores of some rows; 0 where the model's forest was grown on rows of another kind."""
        return score_rows(self.scorer.score, rows) if model.has_todays_rows else np.zeros(len(rows))
