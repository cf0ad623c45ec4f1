"""The frontier of a search: pages a server-week on unlabelled history against quality."""

from collections.abc import Sequence

from report.drawing import text
from report.style import COLOURS, SHAPES
from training.evaluate.pages import Tier
from training.evaluate.tune import Scored, frontier, quality

WIDTH, HEIGHT = 720.0, 440.0
LEFT, TOP, SIDE_X, SIDE_Y = 58.0, 46.0, 620.0, 330.0


def frontier_picture(results: Sequence[Scored], best: Scored, budget_per_week: float) -> str:
    """One SVG; every trial a dot, the frontier a line, the best filled."""
    most = max([budget_per_week, *(_pages(r) for r in results)]) * 1.08 or 1.0
    top = max(0.05, *(quality(r) for r in results)) * 1.1

    def place(result: Scored) -> tuple[float, float]:
        return LEFT + SIDE_X * _pages(result) / most, TOP + SIDE_Y * (1 - quality(result) / top)

    dots = "".join(
        f'<circle cx="{place(r)[0]:.1f}" cy="{place(r)[1]:.1f}" r="{6 if r is best else 3.5}" '
        f'style="fill:{"var(--p1)" if r is best else "var(--expected)"};fill-opacity:{1 if r is best else 0.45}">'
        f"<title>{text(_told(r))}</title></circle>"
        for r in results
    )
    line = "L".join(f"{x:.1f} {y:.1f}" for x, y in map(place, frontier(results)))
    budget = LEFT + SIDE_X * budget_per_week / most
    ticks = "".join(
        f'<path class="grid" d="M{LEFT} {TOP + SIDE_Y * (1 - i / 4):.0f}h{SIDE_X}"/>'
        f'<text class="tick" x="{LEFT - 6}" y="{TOP + SIDE_Y * (1 - i / 4) + 4:.0f}" text-anchor="end">'
        f"{top * i / 4:.2f}</text>"
        f'<text class="tick" x="{LEFT + SIDE_X * i / 4:.0f}" y="{TOP + SIDE_Y + 18}" text-anchor="middle">'
        f"{most * i / 4:.2f}</text>"
        for i in range(5)
    )
    against = "F0.5 on the labels" if best.f05 is not None else "adherence to the budget"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" role="img" '
        f'aria-label="frontier of the search"><style>{COLOURS}{SHAPES}.paper{{fill:var(--card)}}</style>'
        f'<rect class="paper" width="100%" height="100%" rx="12"/>'
        f'<text x="{LEFT}" y="22">{text(f"{len(results)} trials; best: {_told(best)}")}</text>'
        f'{ticks}<path class="day" style="stroke:var(--p2);stroke-dasharray:5 4" d="M{budget:.1f} {TOP}v{SIDE_Y}"/>'
        f'<text x="{budget + 4:.1f}" y="{TOP + 12}">budget</text>'
        f'<path style="fill:none;stroke:var(--expected);stroke-width:1.6" d="M{line}"/>{dots}'
        f'<text x="{LEFT + SIDE_X / 2}" y="{HEIGHT - 14}" text-anchor="middle">'
        "pages a server-week on held-out unlabelled history</text>"
        f'<text x="16" y="{TOP + SIDE_Y / 2}" text-anchor="middle" transform="rotate(-90 16 {TOP + SIDE_Y / 2})">'
        f"{against}</text></svg>"
    )


def _pages(result: Scored) -> float:
    return result.pages_per_server_week[Tier.ALL.value]


def _told(r: Scored) -> str:
    t = r.trial
    return (
        f"{t.num_trees} trees x {t.num_samples_per_tree}, {t.needed} of {t.of_last}, "
        f"thresholds x {t.threshold_factor:.2f}: score {r.score:.3f}"
    )
