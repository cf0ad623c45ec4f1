"""What a backtest showed: figures for JSON and for the report, from one source."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from report.backtest.comparison import comparison
from report.backtest.entries import label_entries, label_marks, miss_entries, page_entries
from report.backtest.evidence import page_cause
from report.backtest.held_back import held_back_entries
from report.data import IncidentMark, ReportData, judged_incidents
from report.traces import never_judged, server_trace
from training.evaluate.experiment import ExperimentOutcome, Setup
from training.evaluate.pages import Tier
from training.history.files import History
from training.history.grid import Grid
from treeline.core.alert import AlertEvent
from treeline.core.detection.policy import Change
from treeline.core.model.package import ModelPackage
from treeline.core.profile import DEFAULT_METRICS, Metric
from treeline.core.times import iso


def summary(
    history: History,
    outcomes: Sequence[ExperimentOutcome],
    past: Grid,
    package: ModelPackage,
    setup: Setup,
    *,
    seconds: float,
) -> dict[str, Any]:
    """Everything a script may want, as plain JSON values; the first outcome is ours, peers follow."""
    ours = outcomes[0]
    grid = ours.grid
    return {
        "data": str(history.path),
        "servers": len(grid.servers),
        "metrics": list(grid.metrics),
        "step_s": grid.step_s,
        "split_by": history.split_by,
        "trained": _span(past),
        "tested": _span(grid),
        "labels": len(history.incidents),
        "protocol": {
            "merge_min": history.protocol.merge_ms / 60_000,
            "margin_min": history.protocol.margin_ms / 60_000,
            "point_adjusted": False,
            "interval": history.protocol.confidence,
        },
        "setup": {
            "policy": setup.policy.to_json(),
            "calibration": package.calibration.to_json(),
            "num_trees": setup.num_trees,
            "num_samples_per_tree": setup.num_samples_per_tree,
            "seed": setup.seed,
            "training_rows": package.fingerprint,
        },
        "detectors": {outcome.name: _figures(outcome) for outcome in outcomes},
        "pages": [entry.to_json() for entry in page_entries(history, ours)],
        "held_back": [entry.to_json() for entry in held_back_entries(grid, ours.backtest)],
        "misses": [entry.to_json() for entry in miss_entries(ours.evaluations.get(Tier.ALL), grid, ours.backtest)],
        "judged_labels": label_entries(ours),
        "never_judged": list(never_judged(grid, ours.backtest.trace)),
        "incidents": [
            {
                "incident_id": f"{server}/{iso(change.opened_at)}",
                "server_id": server,
                "event": change.event.value,
                "priority": change.priority.value,
                "at": iso(change.at),
                "opened_at": iso(change.opened_at),
                "severity": round(change.severity, 3),
            }
            for server, change in ours.backtest.changes
        ],
        "wall_s": round(seconds, 1),
    }


def _span(grid: Grid) -> dict[str, Any]:
    return {
        "from": iso(int(grid.times_ms[0])),
        "to": iso(int(grid.times_ms[-1])),
        "observations": int(grid.present().sum()),
    }


def _figures(outcome: ExperimentOutcome) -> dict[str, Any]:
    return {
        "openings": {tier.value: count_pages(outcome, tier) for tier in Tier},
        "tiers": {tier.value: evaluation.to_json() for tier, evaluation in outcome.evaluations.items()},
        "points": outcome.points.to_json(),
    }


def count_pages(outcome: ExperimentOutcome, tier: Tier) -> int:
    """Incidents that paged at this tier."""
    return len({o.incident_id for o in outcome.openings if tier is Tier.ALL or o.priority == "P1"})


def backtest_report(history: History, outcomes: Sequence[ExperimentOutcome], body: Mapping[str, Any]) -> ReportData:
    """The page's data: traces, labels and incidents of our own detector, which stands first; the others' figures."""
    outcome = outcomes[0]
    grid, trace = outcome.grid, outcome.backtest.trace
    every = outcome.evaluations.get(Tier.ALL)
    judged = judged_incidents(every)
    units = {metric.name: metric.unit for metric in DEFAULT_METRICS}
    lives: dict[tuple[str, int], list[Change]] = {}
    for server, change in outcome.backtest.changes:
        lives.setdefault((server, change.opened_at), []).append(change)
    return ReportData(
        title="Treeline backtest",
        subtitle=f"{history.path.name}: {len(grid.servers)} servers, {len(grid.metrics)} metrics, "
        f"one observation each {grid.step_s:g} s; fitted on the unlabelled past, judged on what came after",
        start_ms=int(grid.times_ms[0]),
        end_ms=int(grid.times_ms[-1]),
        metrics=tuple(Metric(name=name, unit=units.get(name, "")) for name in grid.metrics),
        traces=tuple(server_trace(grid, trace, column) for column in range(len(grid.servers))),
        never_judged=never_judged(grid, trace),
        labels=label_marks(every, grid, outcome.backtest),
        incidents=tuple(
            _incident_mark(outcome, server, life).judged(judged.get(f"{server}/{iso(opened_at)}"))
            for (server, opened_at), life in sorted(lives.items(), key=lambda entry: entry[0][1])
        ),
        evaluations=outcome.evaluations,
        comparison=comparison(outcomes) if len(outcomes) > 1 and outcome.evaluations else "",
        facts={
            "data": str(history.path),
            "split by": history.split_by,
            "trained on": " to ".join((body["trained"]["from"], body["trained"]["to"])),
            "judged on": " to ".join((body["tested"]["from"], body["tested"]["to"])),
            "point-wise": points_line(outcome),
            "settings": "\n".join(f"{name}: {json.dumps(value)}" for name, value in body["setup"].items()),
        },
    )


def points_line(outcome: ExperimentOutcome) -> str:
    """The point-wise figures, and which of them are missing."""
    points = outcome.points
    parts = []
    if points.auc_pr is not None:
        parts.append(f"point-wise AUC-PR {points.auc_pr:.3f} (a random order: {points.positives:.3f})")
    if points.vus_pr is not None:
        parts.append(f"VUS-PR {points.vus_pr:.3f}")
    return "; ".join([*parts, *([points.note] if points.note else [])])


def _incident_mark(outcome: ExperimentOutcome, server: str, life: Sequence[Change]) -> IncidentMark:
    opening = life[0]
    cause = page_cause(outcome.grid, outcome.backtest, server, opening.at, opening.priority.value)
    return IncidentMark(
        incident_id=f"{server}/{iso(opening.opened_at)}",
        server_id=server,
        priority=min(change.priority for change in life).value,
        opened_ms=opening.opened_at,
        resolved_ms=_when(life, AlertEvent.RESOLVED),
        escalated_ms=_when(life, AlertEvent.ESCALATED),
        first_anomalous_ms=opening.first_anomalous_at,
        severity=opening.severity,
        decided_by="" if cause.channel is None else str(cause.channel),
        evidence=cause.metrics,
        evidence_ms=cause.metrics_at_ms,
    )


def _when(life: Iterable[Change], event: AlertEvent) -> int | None:
    return next((change.at for change in life if change.event is event), None)
