"""Detectors side by side on the report: a table, and precision over recall."""

from collections.abc import Iterable, Sequence

import numpy as np

from report.drawing import NOTHING, text
from report.scoreboard import column_cells, column_heads
from training.evaluate.experiment import ExperimentOutcome
from training.evaluate.judge import TierQuality
from training.evaluate.pages import Tier

WIDTH, HEIGHT = 560.0, 420.0
LEFT, TOP, SIDE_X, SIDE_Y = 46.0, 14.0, 500.0, 360.0
F1_LINES = (0.2, 0.4, 0.6, 0.8)


def comparison(outcomes: Sequence[ExperimentOutcome]) -> str:
    """The section; the first outcome is ours."""
    ours, *peers = outcomes
    ranked = [ours, *sorted(peers, key=lambda o: -(o.evaluations[Tier.ALL].f1 or 0.0))]
    rows = "".join(_rows(number, outcome) for number, outcome in enumerate(ranked, start=1))
    head = (
        f'<tr><th>no.</th><th class="left">detector</th><th class="left">pages</th>{column_heads()}<th>AUC-PR</th></tr>'
    )
    return (
        '<section><h2>Beside peers</h2><p class="hint">Detectors have our calibration and persistence, so that only '
        "their score differs; alarm rules page by themselves. Beneath: 95 % bootstrap intervals. In the plot the "
        "numbers are those of the table, filled for P1 and P2 together, hollow for P1 alone; the lines join points of "
        "equal F1.</p>"
        f'<div class="wide"><table>{head}{rows}</table></div>'
        f'<div class="wide" style="max-width:640px">{_plot(ranked)}</div></section>'
    )


def _rows(number: int, outcome: ExperimentOutcome) -> str:
    name = f"<b>{text(outcome.name)}</b>" if number == 1 else text(outcome.name)
    rows = []
    for tier, e in outcome.evaluations.items():
        first = tier is Tier.P1
        area = outcome.points.auc_pr
        rows.append(
            f'<tr><td>{number if first else ""}</td><td class="left">{name if first else ""}</td>'
            f'<td class="left">{"P1 alone" if first else "P1 and P2"}</td>{column_cells(e)}'
            f"<td>{NOTHING if area is None or not first else f'{area:.3f}'}</td></tr>"
        )
    return "".join(rows)


def _plot(ranked: Sequence[ExperimentOutcome]) -> str:
    marks = "".join(_marks(number, outcome.evaluations.items()) for number, outcome in enumerate(ranked, start=1))
    ticks = "".join(
        f'<path class="grid" d="M{_x(v):.0f} {TOP}v{SIDE_Y}M{LEFT} {_y(v):.0f}h{SIDE_X}"/>'
        f'<text class="tick" x="{_x(v):.0f}" y="{TOP + SIDE_Y + 16}" text-anchor="middle">{v:g}</text>'
        f'<text class="tick" x="{LEFT - 6}" y="{_y(v) + 4:.0f}" text-anchor="end">{v:g}</text>'
        for v in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    )
    return (
        f'<svg viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" role="img" aria-label="precision over recall of each detector">'
        f"{ticks}{''.join(_equal_f1(f1) for f1 in F1_LINES)}{marks}"
        f'<text x="{LEFT + SIDE_X / 2}" y="{HEIGHT - 8}" text-anchor="middle">recall</text>'
        f'<text x="12" y="{TOP + SIDE_Y / 2}" text-anchor="middle" transform="rotate(-90 12 {TOP + SIDE_Y / 2})">'
        "precision</text></svg>"
    )


def _marks(number: int, evaluations: Iterable[tuple[Tier, TierQuality]]) -> str:
    colour = "var(--p1)" if number == 1 else "var(--expected)"
    drawn = []
    for tier, e in evaluations:
        if e.precision is None or e.recall is None:
            continue
        fill, ink = ("var(--card)", colour) if tier is Tier.P1 else (colour, "var(--card)")
        x, y = _x(e.recall), _y(e.precision)
        drawn.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="9" style="fill:{fill};stroke:{colour};stroke-width:1.8"/>'
            f'<text x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle" style="fill:{ink};font-weight:650">{number}</text>'
        )
    return "".join(drawn)


def _equal_f1(f1: float) -> str:
    recall = np.linspace(f1 / (2 - f1), 1.0, 40)
    precision = f1 * recall / (2 * recall - f1)
    points = "L".join(f"{_x(r):.0f} {_y(p):.0f}" for r, p in zip(recall, precision, strict=True))
    end = f'<text class="tick" x="{LEFT + SIDE_X + 2}" y="{_y(float(precision[-1])) + 4:.0f}">{f1:g}</text>'
    return f'<path class="day" style="stroke-dasharray:3 4" d="M{points}"/>{end}'


def _x(recall: float) -> float:
    return LEFT + SIDE_X * recall


def _y(precision: float) -> float:
    return TOP + SIDE_Y * (1.0 - precision)
