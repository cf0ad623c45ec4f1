"""The figures of a report: headline tiles and tables."""

from collections.abc import Iterable, Sequence

from report.data import Accounting, ReportData
from report.drawing import NOTHING, duration, moment, number, text
from report.quality_table import PLACES, WORTH
from training.evaluate.intervals import Interval
from training.evaluate.judge import Breakdown, TierQuality
from training.evaluate.pages import Tier


def tiles(data: ReportData) -> str:
    """The headline."""
    shown = []
    best = data.evaluations.get(Tier.ALL) or next(iter(data.evaluations.values()), None)
    if best:
        shown.append(
            _tile(
                f"{best.hits} of {best.labels}", "incidents found", f"{percent(best.recall)} of the labels, P1 and P2"
            )
        )
        shown.append(_tile(percent(best.precision), "of pages were right", _between(best.intervals.precision)))
        false = number(best.false_pages_per_server_day, 2)
        shown.append(_tile(false, "false pages a server-day", f"{best.false_pages} in {best.server_days:.0f} days"))
        shown.append(
            _tile(
                duration(best.delay_p50_s), "median delay", f"from the labelled onset; p90 {duration(best.delay_p90_s)}"
            )
        )
    else:
        opened = sum(m.priority == "P1" for m in data.incidents)
        shown.append(_tile(str(len(data.incidents)), "incidents opened", f"{opened} of them P1; nothing was labelled"))
    if data.clocks:
        clock = data.clocks[0]
        good = None if clock.budget_s is None else clock.p50_s <= clock.budget_s
        shown.append(_tile(duration(clock.p50_s), clock.name, f"median; p95 {duration(clock.p95_s)}", good))
    if data.accounting:
        books = data.accounting
        told = f"{books.sent:,} sent, all accounted for" if books.lost == 0 else f"of {books.sent:,} sent"
        shown.append(_tile(f"{books.lost:,}", "records lost", told, books.lost == 0))
    return f'<div class="tiles">{"".join(shown)}</div>'


def result_table(data: ReportData) -> str:
    """Both tiers side by side."""
    if not data.evaluations:
        return ""
    head = f"<tr><th>Counted as a page</th>{column_heads()}</tr>"
    rows = "".join(_result_row(tier, result) for tier, result in data.evaluations.items())
    outside = max((e.labels_outside for e in data.evaluations.values()), default=0)
    left_out = f" {outside} labels lie outside the replayed range and are not counted." if outside else ""
    return (
        f"<section><h2>How good</h2>"
        f'<p class="hint">Per incident, never point-adjusted: labels of one server under an hour apart '
        f"count as one; a hit comes at the onset of a label or later; what comes as it ends, at the recovery, is false "
        f"like any other page. Repeats count neither way; in vain: servers without a label that pages of many servers "
        f"listed. Lead: from the page to the first breach of the service's objective. Beneath: 95 % "
        f'bootstrap intervals.{left_out}</p><div class="wide"><table>{head}{rows}</table></div></section>'
    )


def breakdowns(data: ReportData) -> str:
    """Per kind and per server, at both priorities together."""
    best = data.evaluations.get(Tier.ALL) or next(iter(data.evaluations.values()), None)
    if best is None:
        return ""
    parts = []
    if best.per_kind:
        rows = "".join(
            f"<tr><td>{text(k.name.replace('_', ' ').replace('+', ' + '))}</td>"
            f"<td>{_share(k)}</td><td>{duration(k.delay_p50_s)}</td></tr>"
            for k in sorted(best.per_kind, key=lambda k: (-(k.recall or 0), k.name))
        )
        parts.append(
            f"<section><h2>By kind</h2><table>"
            f"<tr><th>kind</th><th>found</th><th>delay p50</th></tr>{rows}</table></section>"
        )
    eventful = [s for s in best.per_server if s.labels or s.false_pages]
    rows = "".join(
        f"<tr><td>{text(s.name)}</td><td>{_share(s)}</td><td>{s.false_pages}</td><td>{duration(s.delay_p50_s)}</td></tr>"
        for s in sorted(eventful, key=lambda s: (-s.labels, -s.false_pages, s.name))[:40]
    )
    hidden = len(best.per_server) - min(len(eventful), 40)
    more = f'<p class="hint">{hidden} more servers, quiet or with less to tell.</p>' if hidden else ""
    head = "<tr><th>server</th><th>found</th><th>false</th><th>delay p50</th></tr>"
    parts.append(f"<section><h2>By server</h2><table>{head}{rows}</table>{more}</section>")
    return f'<div class="pair">{"".join(parts)}</div>'


def machinery(data: ReportData) -> str:
    """Where the records went, how fast, and which faults were injected."""
    parts = []
    if data.accounting:
        parts.append(_accounting(data.accounting))
    if data.clocks:
        rows = "".join(
            f"<tr><td>{text(c.name)}</td><td>{duration(c.p50_s)}</td><td>{duration(c.p95_s)}</td><td>{duration(c.max_s)}</td>"
            f"<td>{c.count:,}</td><td>{_budget(c.p50_s, c.budget_s)}</td></tr>"
            for c in data.clocks
        )
        head = "<tr><th>wall clock</th><th>p50</th><th>p95</th><th>max</th><th>n</th><th>p50 under</th></tr>"
        parts.append(f"<section><h2>Clocks</h2><table>{head}{rows}</table></section>")
    pair = f'<div class="pair">{"".join(parts)}</div>' if parts else ""
    return pair + _faults(data)


def facts(data: ReportData) -> str:
    """How to repeat the run."""
    if not data.facts:
        return ""
    rows = "".join(
        f'<tr><td>{text(k)}</td><td class="left text"><code>{text(v)}</code></td></tr>' for k, v in data.facts.items()
    )
    return f"<section><h2>This run</h2><table>{rows}</table></section>"


def percent(share: float | None) -> str:
    """A share for people."""
    return NOTHING if share is None else f"{100 * share:.0f} %"


def _tile(figure: str, what: str, more: str, good: bool | None = None) -> str:
    mood = "" if good is None else ' class="good"' if good else ' class="bad"'
    return (
        f'<div class="tile"><b{mood}>{text(figure)}</b><span class="what">{text(what)}</span>'
        f"<span>{text(more)}</span></div>"
    )


def _between(interval: Interval | None) -> str:
    return "" if interval is None else f"precision; 95 % within {100 * interval.low:.0f} to {100 * interval.high:.0f} %"


def _result_row(tier: Tier, result: TierQuality) -> str:
    name = "P1 alone" if tier is Tier.P1 else "P1 and P2"
    return f"<tr><td>{name}</td>{column_cells(result)}</tr>"


def column_heads() -> str:
    """The columns of `treeline quality`, which every table of results has."""
    return "".join(f"<th>{text(name)}</th>" for name, _ in (*WORTH, *PLACES))


def column_cells(result: TierQuality) -> str:
    """One tier's figures under `column_heads`; an interval stands beneath its figure."""
    cells = (cell(result).partition("\n[dim]") for _, cell in (*WORTH, *PLACES))
    return "".join(
        f"<td>{text(figure)}<br><small>{text(within.removesuffix('[/]'))}</small></td>" for figure, _, within in cells
    )


def _share(row: Breakdown) -> str:
    if not row.labels:
        return NOTHING
    return (
        f'{row.hits} of {row.labels}<span class="bar"><i style="width:{100 * row.hits / row.labels:.0f}%"></i></span>'
    )


def _accounting(books: Accounting) -> str:
    lines: list[tuple[str, int]] = [
        ("sent", books.sent),
        ("stored", books.stored),
        ("set aside (quarantine)", books.quarantined),
    ]
    lines += [(f"· {reason}", count) for reason, count in sorted(books.quarantine_reasons.items())]
    lines += [(f"single values set aside: {reason}", count) for reason, count in sorted(books.values_set_aside.items())]
    if books.duplicates:
        lines.append(("repeated, stored once", books.duplicates))
    lines += [("scored", books.scored), ("warming up, not scored yet", books.warming_up)]
    lines += [("too late, not scored", books.too_late), ("lost", books.lost)]
    lines += [("alerts published", books.alerts_published), ("pages delivered", books.pages_delivered)]
    if books.pages_refused:
        lines.append(("pages refused", books.pages_refused))
    checks = _checks(books)
    rows = "".join(f"<tr><td>{text(name)}</td><td>{count:,}</td></tr>" for name, count in lines)
    return f'<section><h2>Every record accounted for</h2><table>{rows}</table><p class="hint">{checks}</p></section>'


def _checks(books: Accounting) -> str:
    sums = (
        ("sent = stored + set aside + repeated", books.sent - books.stored - books.quarantined - books.duplicates),
        ("stored = scored + warming up + too late", books.stored - books.seen),
    )
    return "<br>".join(
        f'<span class="{"bad" if off else "good"}">{"✗" if off else "✓"}</span> '
        f"{name}{f', off by {off:,}' if off else ''}"
        for name, off in sums
    )


def _budget(p50_s: float, budget_s: float | None) -> str:
    if budget_s is None:
        return ""
    good = p50_s <= budget_s
    return f'{duration(budget_s)} <span class="{"good" if good else "bad"}">{"✓" if good else "✗"}</span>'


def _faults(data: ReportData) -> str:
    if not data.faults:
        return ""
    marks = {True: '<span class="good">✓</span> ', False: '<span class="bad">✗</span> ', None: ""}
    rows = "".join(
        f'<tr><td>{text(f.name)}</td><td class="left">{moment(f.start_ms)} to {moment(f.end_ms)[11:]}</td>'
        f'<td class="left text">{marks[f.passed]}{text(f.outcome)}</td></tr>'
        for f in data.faults
    )
    head = '<tr><th>fault</th><th class="left">event time (UTC)</th><th class="left">what became of it</th></tr>'
    return f'<section><h2>Faults injected</h2><div class="wide"><table>{head}{rows}</table></div></section>'


def counts(outcomes: Iterable[str], order: Sequence[str]) -> list[tuple[str, int]]:
    """How often each outcome occurs, in this order, those that do occur."""
    listed = list(outcomes)
    return [(name, listed.count(name)) for name in order if name in listed]
