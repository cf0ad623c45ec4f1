"""The figures of judged sets as tables: for a terminal of 80 columns, and as Markdown for the README."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from rich import box
from rich.markup import escape
from rich.table import Table

from training.evaluate.bands import BandQuality
from training.evaluate.intervals import Interval
from training.evaluate.judge import Breakdown, Place, TierQuality
from training.evaluate.pages import Tier

Results = Mapping[str, Mapping[Tier, TierQuality]]
NOTHING = "-"


def minutes(seconds: float | None) -> str:
    """A delay for people."""
    return NOTHING if seconds is None else f"{seconds / 60:.0f} min"


def before_breach(e: TierQuality | Breakdown) -> str:
    """How many of the incidents that breached an objective were paged before it."""
    return f"{e.before_breach}/{e.breached}" if e.breached else NOTHING


def _rate(e: TierQuality) -> str:
    return NOTHING if e.false_pages_per_server_day is None else f"{e.false_pages_per_server_day:.4f}"


def _a_day_of_500(e: TierQuality) -> str:
    return NOTHING if e.false_pages_per_server_day is None else f"{500 * e.false_pages_per_server_day:.1f}"


def _figure(value: float | None, interval: Interval | None) -> str:
    if value is None:
        return NOTHING
    return f"{value:.2f}" + ("" if interval is None else f"\n[dim]{interval.low:.2f}-{interval.high:.2f}[/]")


Column = tuple[str, Callable[[TierQuality], str]]
WORTH: Sequence[Column] = (
    ("hit", lambda e: f"{e.hits}/{e.labels}"),
    ("false", lambda e: str(e.false_pages)),
    ("precision", lambda e: _figure(e.precision, e.intervals.precision)),
    ("recall", lambda e: _figure(e.recall, e.intervals.recall)),
    ("F1", lambda e: NOTHING if e.f1 is None else f"{e.f1:.2f}"),
    ("false/srv-day", _rate),
    ("false/day of 500", _a_day_of_500),
    ("delay", lambda e: minutes(e.delay_p50_s)),
)
PLACES: Sequence[Column] = (
    ("onset", lambda e: str(e.hits_at_onset)),
    ("later", lambda e: str(e.hits - e.hits_at_onset)),
    ("recovery", lambda e: str(e.recoveries)),
    ("repeats", lambda e: str(e.repeats)),
    ("in vain", lambda e: str(e.in_vain)),
    ("before breach", before_breach),
    ("lead", lambda e: minutes(e.lead_p50_s)),
)
BANDS: Sequence[tuple[str, Callable[[BandQuality], str]]] = (
    ("normal values", lambda b: f"{b.normal:,}"),
    ("outside their band", lambda b: NOTHING if b.outside_share is None else f"{100 * b.outside_share:.1f} %"),
    ("openings", lambda b: str(b.openings)),
    ("with nothing outside", lambda b: str(b.unexplained)),
    ("impossible bands", lambda b: str(b.impossible)),
)


def tables(results: Results, *, named: str = "set", intervals: bool = True) -> list[Table]:
    """What pages were worth, and where in the incidents they came.

    Args:
        results: By name, each tier's result.
        named: What the names are of.
        intervals: Whether precision and recall have theirs beneath.
    """
    worth = "Page by page, with 95 % intervals" if intervals else "Page by page"
    return [
        _table(worth, results, WORTH, named, intervals),
        _table(
            "Where they came: hits at the onset and later, false pages at the recovery",
            results,
            PLACES,
            named,
            intervals,
        ),
    ]


def _table(title: str, results: Results, columns: Sequence[Column], named: str, intervals: bool) -> Table:
    table = plain_table(title)
    table.padding = 0  # the box leaves one space between columns; more does not fit
    for name in (named, "pages"):
        table.add_column(name, no_wrap=True)
    for name, _ in columns:
        broken = name.replace("/", "/\n").replace(" ", "\n")  # a long head makes a wide column
        table.add_column(broken, justify="right", no_wrap=True)
    for name, evaluations in results.items():
        for tier, e in evaluations.items():
            cells = (cell(e) if intervals else cell(e).partition("\n")[0] for _, cell in columns)
            table.add_row(name if tier is Tier.P1 else "", tier.value, *cells)
    return table


def kind_table(every: TierQuality, *, of: str = "") -> Table | None:
    """What was found of each kind of labelled incident; None where no label has a kind.

    Args:
        every: The result of P1 and P2 together.
        of: What the incidents are of, for the title.
    """
    if not every.per_kind:
        return None
    onset = Counter(judged.label.kind for judged in every.judged_labels if judged.place is Place.ONSET)
    table = plain_table(f"By kind, P1 and P2{of and ': '}{escape(of)}")
    for name in ("kind", "labels", "hit", "onset", "recall", "delay", "before breach"):
        table.add_column(name, justify="left" if name == "kind" else "right", no_wrap=True)
    for row in every.per_kind:
        table.add_row(
            escape(row.name),
            str(row.labels),
            str(row.hits),
            str(onset[row.name]),
            NOTHING if row.recall is None else f"{row.recall:.2f}",
            minutes(row.delay_p50_s),
            before_breach(row),
        )
    return table


def band_table(bands: Mapping[str, BandQuality]) -> Table:
    """Whether bands hold, and whether every opening shows its reason, by set."""
    table = plain_table("What was shown as expected")
    for name in ("set", *(name for name, _ in BANDS)):
        table.add_column(name, justify="left" if name == "set" else "right")
    for name, found in bands.items():
        table.add_row(name, *(cell(found) for _, cell in BANDS))
    return table


def plain_table(title: str) -> Table:
    """Without vertical rules, so that many columns fit into 80 characters."""
    return Table(title=title, title_justify="left", box=box.SIMPLE, show_edge=False, padding=(0, 1, 0, 0))


def markdown(results: Results, *, named: str = "set") -> str:
    """One table of every name and tier, with all columns."""
    columns = (*WORTH, *PLACES)
    heads = " | ".join(name for name, _ in columns)
    lines = [f"| {named} | pages | {heads} |", f"|---|---|{'---|' * len(columns)}"]
    for name, evaluations in results.items():
        for tier, e in evaluations.items():
            cells = (cell(e).replace("\n[dim]", " (").replace("[/]", ")") for _, cell in columns)
            lines.append(f"| {name} | {tier.value} | {' | '.join(cells)} |")
    return "\n".join(lines)


def band_markdown(bands: Mapping[str, BandQuality]) -> str:
    """The same table as Markdown."""
    heads = " | ".join(name for name, _ in BANDS)
    rows = (f"| {name} | {' | '.join(cell(found) for _, cell in BANDS)} |" for name, found in bands.items())
    return "\n".join([f"| set | {heads} |", f"|---|{'---|' * len(BANDS)}", *rows])
