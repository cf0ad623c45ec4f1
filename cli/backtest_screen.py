"""What a backtest shows in a terminal."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from report.backtest.results import count_pages, points_line
from training.evaluate.experiment import ExperimentOutcome
from training.evaluate.intervals import Interval
from training.evaluate.judge import Breakdown, TierQuality
from training.evaluate.pages import Tier
from training.history.files import History
from treeline.core.times import iso

MOST_SERVERS = 40


class BacktestScreen:
    """Writes to one console: stdout, or stderr when stdout carries JSON."""

    def __init__(self, *, as_json: bool) -> None:
        self.console = Console(stderr=as_json, highlight=False)

    def note(self, text: str) -> None:
        """A line that says what happens now."""
        self.console.print(f"[cyan]>[/] {text}")

    def spinner(self, text: str) -> AbstractContextManager[Any]:
        """For a wait of unknown length."""
        return self.console.status(text)

    @contextmanager
    def progress(self) -> Iterator[Callable[[str, float], None]]:
        """A bar for each stage, shown at its first report: (stage, share done)."""
        columns = (
            TextColumn("  {task.description:<24}"),
            BarColumn(bar_width=32),
            TextColumn("{task.percentage:3.0f} %"),
        )
        with Progress(*columns, TimeElapsedColumn(), console=self.console, transient=True) as bars:
            tasks: dict[str, TaskID] = {}

            def tell(stage: str, share: float) -> None:
                if stage not in tasks:
                    tasks[stage] = bars.add_task(stage, total=1.0)
                bars.update(tasks[stage], completed=share)

            yield tell

    def opened(self, history: History) -> None:
        """What is going to be run."""
        self.note(
            f"{history.path.name}: {history.row_count:,} rows of {len(history.servers)} servers, "
            f"{len(history.metrics)} metrics, each {history.step_s:g} s; detecting "
            f"{iso(history.test_start_ms)[:16]} to {iso(history.end_ms)[:16]}"
        )

    def result(self, outcome: ExperimentOutcome) -> None:
        """Both tiers, then by server."""
        if not outcome.evaluations:
            pages = ", ".join(f"{tier.value} {count_pages(outcome, tier)}" for tier in Tier)
            self.console.print(
                f"  Nothing was labelled, so nothing is judged. Incidents that would have paged: {pages}"
            )
            return
        self.console.print(tier_table(outcome))
        told = outcome.evaluations[Tier.ALL]
        outside = f" and {told.labels_outside} outside the test part" if told.labels_outside else ""
        self.console.print(
            f"  [dim]95 % bootstrap intervals by {told.intervals.unit}; {told.server_days:.1f} server-days; "
            f"{told.labels} labels{outside}[/]"
        )
        self.console.print(f"  {points_line(outcome)}")
        self.console.print(server_table(outcome))

    def comparison(self, outcomes: Sequence[ExperimentOutcome]) -> None:
        """Ours and the peers."""
        if outcomes[0].evaluations:
            self.console.print(comparison_table(outcomes))
        else:
            for outcome in outcomes:
                pages = ", ".join(f"{tier.value} {count_pages(outcome, tier)}" for tier in Tier)
                self.console.print(f"  {outcome.name}: {pages}")


def comparison_table(outcomes: Sequence[ExperimentOutcome]) -> Table:
    """One row a detector: ours on top, then the peers by F1 of P1 and P2 together."""
    table = Table(title="Beside peers: same calibration, same persistence", title_justify="left")
    table.add_column("detector", no_wrap=True)
    for tier in Tier:
        table.add_column(f"{tier.value} P/R/F1", justify="right", no_wrap=True)
        table.add_column("false", justify="right", no_wrap=True)
    table.add_column("AUC-PR", justify="right", no_wrap=True)
    ours, *peers = outcomes
    for outcome in [ours, *sorted(peers, key=lambda o: -(o.evaluations[Tier.ALL].f1 or 0.0))]:
        cells = []
        for tier in Tier:
            e = outcome.evaluations[tier]
            cells.append(" ".join("  - " if v is None else f"{v:.2f}" for v in (e.precision, e.recall, e.f1)))
            cells.append(str(e.false_pages))
        area = outcome.points.auc_pr
        style = "bold" if outcome is ours else ""
        table.add_row(outcome.name, *cells, "-" if area is None else f"{area:.3f}", style=style)
    return table


def tier_table(outcome: ExperimentOutcome) -> Table:
    """Every figure of both tiers, with its interval."""
    table = Table(title="Against the labels, incident by incident", title_justify="left")
    table.add_column("counted as a page", no_wrap=True)
    for tier in outcome.evaluations:
        table.add_column("P1 alone" if tier is Tier.P1 else "P1 and P2", justify="right", no_wrap=True)
    results = outcome.evaluations.values()
    for name, cell in _ROWS:
        table.add_row(name, *(cell(e) for e in results))
    return table


def _figure(value: float | None, interval: Interval | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" + ("" if interval is None else f" [dim]({interval.low:.2f} to {interval.high:.2f})[/]")


def _rate(e: TierQuality) -> str:
    return "-" if e.false_pages_per_server_day is None else f"{e.false_pages_per_server_day:.4f}"


def minutes(seconds: float | None) -> str:
    """A delay for people."""
    return "-" if seconds is None else f"{seconds / 60:.0f} min"


_ROWS: tuple[tuple[str, Callable[[TierQuality], str]], ...] = (
    ("labelled incidents hit", lambda e: f"{e.hits} of {e.labels}"),
    ("missed", lambda e: str(e.misses)),
    ("false incidents", lambda e: str(e.false_pages)),
    ("repeats inside a label", lambda e: str(e.repeats)),
    ("precision", lambda e: _figure(e.precision, e.intervals.precision)),
    ("recall", lambda e: _figure(e.recall, e.intervals.recall)),
    ("F1", lambda e: _figure(e.f1, e.intervals.f1)),
    ("F0.5", lambda e: _figure(e.f05, e.intervals.f05)),
    ("false pages a server-day", _rate),
    ("delay from onset, median", lambda e: minutes(e.delay_p50_s)),
    ("delay from onset, p90", lambda e: minutes(e.delay_p90_s)),
)


def server_table(outcome: ExperimentOutcome) -> Table:
    """Hits, misses and false openings of each server, both tiers."""
    high, every = (outcome.evaluations[tier].per_server for tier in (Tier.P1, Tier.ALL))
    eventful = sorted(_paired(high, every), key=lambda pair: (-pair[1].labels, -pair[1].false_pages, pair[1].name))
    hidden = max(0, len(eventful) - MOST_SERVERS)
    table = Table(
        title="By server", title_justify="left", caption=f"{hidden} more servers in the JSON" if hidden else None
    )
    table.add_column("server", no_wrap=True)
    for name in ("labels", "P1 hit", "P1 false", "P1+P2 hit", "P1+P2 false", "AUC-PR", "delay p50"):
        table.add_column(name, justify="right")
    for one, both in eventful[:MOST_SERVERS]:
        area = outcome.points.by_server.get(both.name)
        table.add_row(
            both.name,
            str(both.labels),
            str(one.hits),
            str(one.false_pages),
            str(both.hits),
            str(both.false_pages),
            "-" if area is None else f"{area:.2f}",
            minutes(both.delay_p50_s),
        )
    return table


def _paired(high: Sequence[Breakdown], every: Sequence[Breakdown]) -> list[tuple[Breakdown, Breakdown]]:
    at_p1 = {row.name: row for row in high}
    return [(at_p1.get(row.name, Breakdown(name=row.name, labels=0, hits=0)), row) for row in every]
