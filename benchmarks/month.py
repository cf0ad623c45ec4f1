"""A month of pages: limits as people set them before, and ours after, on one generated fleet.

    python -m benchmarks.month --servers 500 --step 60

Two weeks to train on, then 30 days to watch, with a month's end and with services whose servers work at 85 to 95 % for
hours. There are about as many incidents as a real fleet of that size has in a month, one or two a day. A page is an
incident or an alarm that opened, each for itself, however many open at once; "grouped" is what is left where a
server's pages less than an hour apart are one. Hits and false pages are those of the judge, which takes openings of
one step on many servers as one page. The last three days of the month, busier than any before, stand apart as well.

500 servers take about ten minutes of processor time. Each row is told on stderr as it is known, with what it took, so
that a run on a busy machine that is stopped has not been in vain. Linux only, as it reads /proc.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.backtest import Stages
from demo.fleet.generate import generate
from demo.fleet.plan import Addition, FleetPlan
from training.evaluate.backtest import Backtest, backtest
from training.evaluate.experiment import Setup, fit_model, groups_of, openings, split_grids
from training.evaluate.judge import evaluate
from training.evaluate.pages import Opening, Tier, paging
from training.evaluate.peers.rules import RULES, Rule
from training.history.files import History, open_history
from training.history.grid import Grid
from training.history.observed import ObservedServers
from training.processes import workers_for

TRAIN_DAYS, DAYS = 14, 30
START = datetime(2026, 11, 2, tzinfo=UTC)  # November ends in the middle of the days that are watched
MONTH_END_MS = tuple(round(datetime(2026, m, d, tzinfo=UTC).timestamp() * 1000) for m, d in ((11, 28), (12, 1)))
INCIDENTS_PER_SERVER_WEEK = 0.025
QUIET_MS = 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One detector's month; `pages` and `grouped` as above, the rest as judged.

    `month_end_...`: pages of the last three days, and labels that began in them.
    """

    detector: str
    pages: int
    grouped: int
    hits: int
    labels: int
    false_pages: int
    precision: float | None
    recall: float | None
    month_end_pages: int
    month_end_hits: int
    month_end_labels: int


def plan_of(servers: int, step_s: int, seed: int) -> FleetPlan:
    """The month's fleet."""
    return FleetPlan(
        servers=servers,
        days=TRAIN_DAYS + DAYS,
        step_s=step_s,
        seed=seed,
        start=START,
        train_fraction=TRAIN_DAYS / (TRAIN_DAYS + DAYS),
        incidents_per_server_week=INCIDENTS_PER_SERVER_WEEK,
        additions=frozenset({Addition.MONTH_ENDS, Addition.BIMODAL}),
    )


def month(history: History, stages: Stages) -> Iterator[Row]:
    """Each rule's row, then ours at P1 and with P2."""
    with stages.stage("read both parts"):
        past, present = split_grids(history)
        observed = present.observed()
    for rule in RULES:
        with stages.stage(rule.name):
            yield _row(rule.name, history, present, observed, _at_p1(rule).run(past, present), Tier.P1)
    setup = Setup()
    with stages.stage("Treeline, fit"):
        package, forest = fit_model(past, setup, progress=stages.progress)
    del past
    with stages.stage("Treeline, detect"):
        done = backtest(
            package,
            present,
            forest.score,
            setup.policy,
            groups=groups_of(present),
            workers=workers_for(present.values.size),
            progress=stages.progress,
        )
    for tier in Tier:
        yield _row(f"Treeline, {tier.value}", history, present, observed, done, tier)


def _at_p1(rule: Rule) -> Rule:
    """Without a second priority: from 1.5 deviations on the rolling z-score pages millions of times a month."""
    return replace(rule, alarm=lambda step_s: replace(rule.alarm(step_s), p2=None))


def _row(name: str, history: History, present: Grid, observed: ObservedServers, done: Backtest, tier: Tier) -> Row:
    opened = openings(done.changes)
    judged = evaluate(
        history.incidents,
        opened,
        observed=observed,
        step_ms=round(present.step_s * 1000),
        tier=tier,
        protocol=history.protocol,
    )
    sent = paging(opened, tier)
    ends = [each for each in judged.judged_labels if _is_at_the_end(each.label.start_ms)]
    return Row(
        detector=name,
        pages=len(sent),
        grouped=grouped(sent),
        hits=judged.hits,
        labels=judged.labels,
        false_pages=judged.false_pages,
        precision=judged.precision,
        recall=judged.recall,
        month_end_pages=sum(_is_at_the_end(opening.at_ms) for opening in sent),
        month_end_hits=sum(each.opening is not None for each in ends),
        month_end_labels=len(ends),
    )


def _is_at_the_end(at_ms: int) -> bool:
    first, after = MONTH_END_MS
    return first <= at_ms < after


def grouped(sent: Sequence[Opening]) -> int:
    """How many are left where those of one server less than an hour after the one before are no page of their own."""
    last: dict[str, int] = {}
    left = 0
    for opening in sent:
        left += opening.at_ms - last.get(opening.server_id, opening.at_ms - QUIET_MS) >= QUIET_MS
        last[opening.server_id] = opening.at_ms
    return left


def table(rows: Sequence[Row]) -> str:
    """As Markdown."""
    titles = ("detector", "pages", "grouped", "hit", "false", "precision", "recall", "month's end", "pages then")
    return "\n".join([f"| {' | '.join(titles)} |", f"|---|{'--:|' * (len(titles) - 1)}", *map(line, rows)])


def line(row: Row) -> str:
    """One of its lines."""
    figures = ("-" if value is None else f"{value:.3f}" for value in (row.precision, row.recall))
    counts = f"{row.pages:,} | {row.grouped:,} | {row.hits}/{row.labels} | {row.false_pages:,}"
    end = f"{row.month_end_hits}/{row.month_end_labels} | {row.month_end_pages:,}"
    return f"| {row.detector} | {counts} | {' | '.join(figures)} | {end} |"


def fewer(rows: Sequence[Row]) -> str:
    """Our pages beside those of the first rule, fixed limits."""
    limits, *_ = rows
    ours = (f"{row.detector} {1 - row.pages / limits.pages:.1%}" for row in rows[-len(Tier) :])
    return f"Fewer pages than {limits.detector}: {', '.join(ours)}" if limits.pages else f"{limits.detector}: no page"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", type=int, default=500)
    parser.add_argument("--step", type=int, default=60, help="seconds between observations")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", action="store_true", help="as JSON instead of a table")
    args = parser.parse_args()
    plan, stages = plan_of(args.servers, args.step, args.seed), Stages()
    with tempfile.TemporaryDirectory(prefix="treeline-month-") as temporary:
        with stages.stage("generate"):
            made = generate(plan, Path(temporary), progress=lambda done, of: stages.progress("generate", done / of))
        rows = list[Row]()
        for row in month(open_history(made.data_path, made.incidents_path), stages):
            rows.append(row)
            print(line(row), file=sys.stderr, flush=True)
    seconds, peak_gib = round(sum(stages.seconds.values()), 1), round(stages.memory.peak_gib(), 2)
    if args.json:
        body = {"servers": plan.servers, "days": DAYS, "step_s": plan.step_s, "seed": plan.seed}
        print(
            json.dumps(
                {**body, "rows": [asdict(row) for row in rows], "seconds": seconds, "peak_gib": peak_gib}, indent=1
            )
        )
        return
    print(f"{plan.servers} servers, {DAYS} days after {TRAIN_DAYS} of training, a step of {plan.step_s} s\n")
    print(f"{table(rows)}\n\n{fewer(rows)}")
    print(f"\n{seconds:.0f} s, {peak_gib:.2f} GiB at most", file=sys.stderr)


if __name__ == "__main__":
    main()
