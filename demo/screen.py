"""What the demo shows in a terminal: steps, progress, alerts as they are delivered, and the scoreboard."""

from contextlib import AbstractContextManager
from typing import Any

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from demo.results import LATENCY_BUDGET_S, ReplayResult
from report.backtest.entries import clock
from report.console import wide_console
from report.quality_table import kind_table, plain_table, tables
from training.evaluate.judge import TierQuality
from training.evaluate.pages import Tier
from treeline.core.alert import Alert, AlertEvent, Priority
from treeline.core.times import parse_iso
from treeline.core.wording import moved

_EVENT_STYLE = {
    AlertEvent.OPENED: "bold",
    AlertEvent.ESCALATED: "bold",
    AlertEvent.DEESCALATED: "",
    AlertEvent.RESOLVED: "green",
    AlertEvent.SUPPRESSED: "dim",
}


class DemoScreen:
    """Writes to one console: stdout, or stderr when stdout carries JSON."""

    def __init__(self, *, as_json: bool) -> None:
        self.console = wide_console(stderr=as_json)

    def step(self, text: str) -> None:
        """A line that says what happens now."""
        self.console.print(f"[cyan]>[/] {text}")

    def progress(self) -> Progress:
        """A progress display for anything over two seconds."""
        return Progress(
            TextColumn("  {task.description:<12}"),
            BarColumn(bar_width=32),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
        )

    def spinner(self, text: str) -> AbstractContextManager[Any]:
        """For a wait of unknown length."""
        return self.console.status(text)

    def alert(self, alert: Alert) -> None:
        """One alert, as it is delivered."""
        colour = "red" if alert.priority is Priority.P1 else "yellow"
        received, published = parse_iso(alert.clocks.received_at), parse_iso(alert.clocks.published_at)
        style = _EVENT_STYLE[alert.event]
        event = f"[{style}]{alert.event.value:<11}[/]" if style else f"{alert.event.value:<11}"
        line = (
            f"  [{colour}]{alert.priority.value}[/] {event} [bold]{alert.server_id:<12}[/]"
            f" {alert.clocks.observed_at[:16].replace('T', ' ')}Z"
        )
        if alert.event is not AlertEvent.DEESCALATED:  # it says that a tier is quiet, not how much of it is left
            line += f"  severity {alert.severity:4.1f}  [dim]after {(published - received) / 1000:.1f} s[/]"
        self.console.print(line)
        if alert.event in (AlertEvent.OPENED, AlertEvent.ESCALATED):
            for metric in alert.metrics[:3]:
                self.console.print(f"       {moved(metric)}", style="dim")

    def scoreboard(self, result: ReplayResult) -> None:
        """The end of the run."""
        books = result.accounting
        table = plain_table("Where every record went")
        for name in ("sent", "stored", "repeated", "quarantined", "scored", "warming up", "too late", "lost"):
            table.add_column(name, justify="right")
        table.add_row(
            *(f"{n:,}" for n in (books.sent, books.stored, books.duplicates, books.quarantined, books.scored)),
            f"{books.warming_up:,}",
            f"{books.too_late:,}",
            f"[{'green' if books.lost == 0 else 'bold red'}]{books.lost:,}[/]",
        )
        self.console.print(table)
        if books.quarantine_reasons:
            reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(books.quarantine_reasons.items()))
            self.console.print(f"  quarantined: {reasons}")
        if books.values_set_aside:
            reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(books.values_set_aside.items()))
            self.console.print(f"  single values set aside, the rest of their records stored: {reasons}")
        if result.evaluations:
            for table in tables({"replay": result.evaluations}, named="", intervals=False):
                self.console.print(table)
            every = result.evaluations[Tier.ALL]
            for found in (kind_table(every), _miss_table(every)):
                if found is not None:
                    self.console.print(found)
        if result.clocks:
            self.console.print(_clock_table(result))
        self.console.print(
            f"  {result.records_per_s:,.0f} records/s; {books.alerts_published} alerts published, "
            f"{books.pages_delivered} delivered to PagerDuty's stand-in, {books.pages_refused} refused; the same "
            f"incidents {'came' if result.reproduced else '[bold red]did not come[/]'} out offline"
        )


def _miss_table(every: TierQuality) -> Table | None:
    """Labels that no page hit; report.html says what was seen of each. None where all were hit."""
    missed = [judged.label for judged in every.judged_labels if judged.opening is None]
    if not missed:
        return None
    table = plain_table(f"Missed: {len(missed):,}; report.html says what was seen of each")
    for name in ("labelled", "server", "kind"):
        table.add_column(name, overflow="fold")
    for label in sorted(missed, key=lambda label: (label.start_ms, label.server_id)):
        table.add_row(clock(label.start_ms), escape(label.server_id), escape(label.kind))
    return table


def _clock_table(result: ReplayResult) -> Table:
    table = plain_table(
        f"Clocks of the deciding observation (budget {LATENCY_BUDGET_S} s; at full speed a backlog counts)"
    )
    for name in ("from - to", "p50", "p95", "max", "alerts"):
        table.add_column(name, justify="left" if name == "from - to" else "right")
    for stretch in result.clocks:
        table.add_row(
            stretch.name,
            f"{stretch.p50_s:.2f} s",
            f"{stretch.p95_s:.2f} s",
            f"{stretch.max_s:.2f} s",
            str(stretch.count),
        )
    return table
