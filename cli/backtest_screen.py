"""What a backtest shows in a terminal."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from report.backtest.entries import BacktestPage, MissedLabel, clock, miss_entries, page_entries
from report.backtest.held_back import HeldBackPage, held_back_entries
from report.backtest.results import count_pages, points_line
from report.console import wide_console
from report.quality_table import NOTHING, kind_table, minutes, plain_table, tables
from report.traces import never_judged, never_judged_line
from training.evaluate.experiment import ExperimentOutcome
from training.evaluate.judge import Place, Verdict
from training.evaluate.pages import Tier
from training.history.files import History

MOST_LISTED = 40  # rows of each table; a terminal is no place for hundreds


class BacktestScreen:
    """Writes to one console: stdout, or stderr when stdout carries JSON."""

    def __init__(self, *, as_json: bool) -> None:
        self.console = wide_console(stderr=as_json)

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
            f"{clock(history.test_start_ms)} to {clock(history.end_ms)}"
        )

    def result(self, history: History, outcome: ExperimentOutcome) -> None:
        """Both tiers and each server where there are labels; then every page, and every miss."""
        if outcome.evaluations:
            for table in tables({history.path.stem: outcome.evaluations}):
                self.console.print(table)
            told = outcome.evaluations[Tier.ALL]
            outside = f" and {told.labels_outside} without an observation" if told.labels_outside else ""
            self.console.print(
                f"  [dim]95 % bootstrap intervals by {told.intervals.unit}; {told.server_days:.1f} server-days; "
                f"{told.labels} label{'s' * (told.labels != 1)}{outside}[/]"
            )
            self.console.print(f"  {points_line(outcome)}")
            if (kinds := kind_table(told)) is not None:
                self.console.print(kinds)
            self.console.print(server_table(outcome))
        else:
            self.console.print(
                f"  Nothing was labelled, so nothing is judged. Incidents that would have paged: {_counted(outcome)}"
            )
        if unjudged := never_judged_line(never_judged(outcome.grid, outcome.backtest.trace)):
            self.console.print(f"  {escape(unjudged)}")
        if pages := page_entries(history, outcome):
            self.console.print(page_table(pages))
        else:
            self.console.print("No page, neither P1 nor P2")
        if held := held_back_entries(outcome.grid, outcome.backtest):
            self.console.print(held_back_table(held))
        if misses := miss_entries(outcome.evaluations.get(Tier.ALL), outcome.grid, outcome.backtest):
            self.console.print(miss_table(misses))

    def comparison(self, outcomes: Sequence[ExperimentOutcome]) -> None:
        """Ours on top, then the peers by F1 of P1 and P2 together."""
        ours, *peers = outcomes
        if not ours.evaluations:
            for outcome in outcomes:
                self.console.print(f"  {outcome.name}: {_counted(outcome)}")
            return
        ranked = [ours, *sorted(peers, key=lambda o: -(o.evaluations[Tier.ALL].f1 or 0.0))]
        self.note("beside peers: detectors with our calibration and persistence, and rules as people set them")
        for table in tables({o.name: o.evaluations for o in ranked}, named="detector", intervals=False):
            self.console.print(table)
        areas = [f"{o.name} {o.points.auc_pr:.3f}" for o in ranked if o.points.auc_pr is not None]
        if areas:
            self.console.print(f"  point-wise AUC-PR: {', '.join(areas)}")


def _counted(outcome: ExperimentOutcome) -> str:
    return ", ".join(f"{tier.value} {count_pages(outcome, tier)}" for tier in Tier)


def page_table(entries: Sequence[BacktestPage]) -> Table:
    """When, who, what it was worth, and why: the channel that decided, the metric farthest off."""
    table = _list_table(f"Pages, P1 and P2: {len(entries)}", "opened", "server", "", "worth", "delay", "why")
    for entry in entries[:MOST_LISTED]:
        table.add_row(
            clock(entry.at_ms),
            escape(entry.where),
            f"[{'red' if entry.priority == 'P1' else 'yellow'}]{entry.priority}[/]",
            _worth(entry),
            "" if entry.delay_s is None else minutes(entry.delay_s),
            escape(entry.why),
        )
    return _with_rest(table, len(entries))


def _worth(entry: BacktestPage) -> str:
    if entry.verdict is None:
        return ""
    kind = f", {escape(entry.kind)}" if entry.kind else ""
    return f"[{_COLOURS[entry.verdict]}]{entry.worth}[/]{kind}"


_COLOURS = {Verdict.HIT: "green", Verdict.REPEAT: "dim", Verdict.FALSE: "magenta"}


def miss_table(entries: Sequence[MissedLabel]) -> Table:
    """Labels that no page hit, and what the detector saw of them."""
    table = _list_table(f"Missed: {len(entries)}", "labelled", "server", "what was seen")
    for entry in entries[:MOST_LISTED]:
        label = entry.label.label
        kind = f"{label.kind}: " if label.kind else ""
        table.add_row(clock(label.start_ms), escape(label.server_id), escape(f"{kind}{entry}"))
    return _with_rest(table, len(entries))


def held_back_table(entries: Sequence[HeldBackPage]) -> Table:
    """What novelty kept from paging, and why."""
    table = _list_table(f"Held back by the servers' own earlier peaks: {len(entries)}", "would page", "server", "why")
    for entry in entries[:MOST_LISTED]:
        table.add_row(clock(entry.at_ms), escape(entry.server_id), escape(str(entry)))
    return _with_rest(table, len(entries))


def _list_table(title: str, first: str, *names: str) -> Table:
    """Times stay whole; what is long goes on in the next line."""
    table = plain_table(title)
    table.add_column(first, no_wrap=True)
    for name in names:
        table.add_column(name, overflow="fold", justify="right" if name == "delay" else "left")
    return table


def server_table(outcome: ExperimentOutcome) -> Table:
    """What each server's pages were worth, P1 and P2 together; the one with most labels first."""
    every = outcome.evaluations[Tier.ALL]
    at = Counter((o.opening.server_id, o.verdict, o.place) for o in every.judged_openings)
    rows = [row for row in every.per_server if row.labels or row.false_pages]
    rows.sort(key=lambda row: (-row.labels, -row.false_pages, row.name))
    quiet = len(every.per_server) - len(rows)
    table = plain_table(f"By server, P1 and P2; {quiet} without a label or a false page")
    for name in ("server", "hit", "false", "delay", "onset", "later", "recovery", "repeats", "AUC-PR"):
        table.add_column(name, justify="left" if name == "server" else "right", no_wrap=True)
    for row in rows[:MOST_LISTED]:
        area = outcome.points.by_server.get(row.name)
        repeats = sum(n for (name, verdict, _), n in at.items() if name == row.name and verdict is Verdict.REPEAT)
        table.add_row(
            escape(row.name),
            f"{row.hits}/{row.labels}",
            str(row.false_pages),
            minutes(row.delay_p50_s),
            str(at[row.name, Verdict.HIT, Place.ONSET]),
            str(at[row.name, Verdict.HIT, Place.LATER]),
            str(at[row.name, Verdict.FALSE, Place.RECOVERY]),
            str(repeats),
            NOTHING if area is None else f"{area:.2f}",
        )
    return _with_rest(table, len(rows))


def _with_rest(table: Table, count: int) -> Table:
    if count > MOST_LISTED:
        table.caption = f"... {count - MOST_LISTED} more in --json and --html"
        table.caption_justify = "left"
    return table
