"""The dashboard of the models."""

from stacks.constructs.widgets import by_variant, drawn, graph
from stacks.dashboards.sources import Rows, Sources
from treeline.app.metrics import OwnMetric


def model_rows(s: Sources) -> Rows:
    """Which model decides, and does it still fit?"""
    return [
        [drawn("Models that decide", s.model_widget, height=6)],
        [
            s.counts(
                "Scored, warming up, late",
                OwnMetric.ObservationsScored,
                OwnMetric.ObservationsWarmingUp,
                OwnMetric.ObservationsLate,
            ),
            s.counts("Filled in, held back", OwnMetric.ValuesImputed, OwnMetric.ObservationsHeldBack),
            graph("No model", [s.own(OwnMetric.NoModel, "Maximum", "ticks without a model")]),
        ],
        [
            graph(
                "Drift",
                [
                    s.own(OwnMetric.ScoreDrift, "Maximum", "scores, sd"),
                    s.own(OwnMetric.LevelDrift, "Maximum", "metrics' level, sd"),
                    s.own(OwnMetric.LargestFeatureDrift, "Maximum", "feature that moved most, psi"),
                ],
                line=1.5,
                line_label="retrain after 3 days above",
            ),
            *(
                [graph("Invocations by variant", [by_variant("Invocations", endpoint=s.endpoint, statistic="Sum")])]
                if s.endpoint
                else []
            ),
            graph("Severity, p99 by minute", [s.own(OwnMetric.Severity, "p99", "p99")], line=3.0, line_label="P1"),
        ],
        [
            s.counts("Hours summed up", OwnMetric.HoursRolledUp, OwnMetric.ScoresRolledUp),
            s.counts("Retraining", OwnMetric.DriftBreaches, OwnMetric.RetrainingsStarted, OwnMetric.RetrainingsBlocked),
            s.counts(
                "Training runs",
                OwnMetric.TrainingRunsSucceeded,
                OwnMetric.TrainingRunsFailed,
                OwnMetric.CandidatesAdmitted,
            ),
        ],
        [
            s.counts(
                "Promotions",
                OwnMetric.PromotionsStarted,
                OwnMetric.ModelsPromoted,
                OwnMetric.PromotionsRolledBack,
                width=12,
            ),
            graph(
                "Changes not told",
                [s.own(OwnMetric.ChangesNotTold, label=f, function=f) for f in OwnMetric.ChangesNotTold.functions],
                width=12,
            ),
        ],
    ]
