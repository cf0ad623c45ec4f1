"""How good the incidents were: an incident-level protocol against labels, never point-adjusted.

Labels of one server less than an hour apart count as one. A hit is an opening inside a label, or up to ten
minutes beside it; further openings inside the same label are repeats and count neither way; every other
opening is false. Precision is hits / (hits + false openings), recall is hits / labels. A figure that has
nothing to stand on (precision without openings, recall without labels) is None, never 0 or 1.

Intervals resample whole servers, because what goes wrong on one server tends to do so again; with fewer than five
servers there is too little to resample, so labels and openings are resampled one by one, which is too narrow.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.history.labels import FLEET, STANDARD, Label, Protocol, merge_labels

Floats = NDArray[np.float64]

DAY_MS = 86_400_000
MIN_SERVERS_TO_RESAMPLE = 5


class Tier(StrEnum):
    """Which openings count as pages: P1 alone (escalations to P1 too), or every incident."""

    P1 = "P1"
    ALL = "P1+P2"


class Verdict(StrEnum):
    """What an opening was worth."""

    HIT = "hit"  # the first opening of a label
    REPEAT = "repeat"  # a later opening of a label that was already found
    FALSE = "false"  # no label near it


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """One moment at which an incident began to page at `priority`.

    An incident that opens as P2 and rises to P1 gives two openings of the same `incident_id`.
    """

    server_id: str
    at_ms: int
    priority: str  # "P1" or "P2"
    incident_id: str = ""


@dataclass(frozen=True, slots=True)
class Interval:
    """A bootstrap confidence interval."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedOpening:
    """An opening, what it was worth, and the label it fell on."""

    opening: Opening
    verdict: Verdict
    label: Label | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedLabel:
    """A (merged) label, the opening that found it, and how long after the onset (s; negative: before it)."""

    label: Label
    opening: Opening | None = None
    delay_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Breakdown:
    """The counts of one server, or of one kind of incident (which has no false openings of its own)."""

    name: str
    labels: int
    hits: int
    false_openings: int = 0
    observed_days: float = 0.0
    recall: float | None = None
    delay_p50_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TierQuality:
    """One tier's result; figures without a basis are None."""

    tier: Tier
    labels: int
    hits: int
    misses: int
    repeats: int
    false_openings: int
    labels_outside: int  # labels that no observation covers; not counted above
    precision: float | None
    recall: float | None
    f1: float | None
    f05: float | None
    precision_ci: Interval | None
    recall_ci: Interval | None
    f1_ci: Interval | None
    f05_ci: Interval | None
    server_days: float
    false_pages_per_server_day: float | None
    delay_p50_s: float | None
    delay_p90_s: float | None
    interval_unit: str  # what the intervals resample: "server" or "incident"
    per_server: tuple[Breakdown, ...]
    per_kind: tuple[Breakdown, ...]
    judged_openings: tuple[JudgedOpening, ...]
    judged_labels: tuple[JudgedLabel, ...]

    def to_json(self) -> dict[str, Any]:
        """Every figure as plain JSON values, without the judged openings and labels."""
        body = asdict(self)
        del body["judged_openings"], body["judged_labels"]
        return body


# long: half of it is its docstring and the result, one figure a line
def evaluate(
    labels: Sequence[Label],
    openings: Sequence[Opening],
    *,
    observed: Mapping[str, tuple[int, int]],
    tier: Tier | str,
    protocol: Protocol = STANDARD,
) -> TierQuality:
    """Judge openings against labels.

    Args:
        labels: Labelled incidents, in any order, overlapping or not.
        openings: When incidents opened (and rose to P1), in any order.
        observed: First and last observed ms of each server, inclusive. A label outside is left out and
            counted in `labels_outside`; one that reaches outside is cut, its delay counts from the cut.
        tier: `P1` counts openings at P1 only; `P1+P2` counts each incident once, at its first opening.
        protocol: Merge gap, margin and bootstrap settings.

    Raises:
        ValueError: An opening is of a server that was not observed (the fleet aside), or a range is empty.
    """
    tier = Tier(tier)
    for server_id, (first, last) in observed.items():
        if last < first:
            raise ValueError(f"observed range of {server_id} ends before it starts: {first}..{last}")
    merged = merge_labels(labels, gap_ms=protocol.merge_ms)
    inside = [cut for label in merged if (cut := _cut(label, observed.get(label.server_id))) is not None]
    pages = _pages(openings, tier)
    strangers = sorted({o.server_id for o in pages} - set(observed) - {FLEET})
    if strangers:
        raise ValueError(f"openings of servers that were not observed: {', '.join(strangers)}")
    judged_openings, judged_labels = _judge(inside, pages, protocol.margin_ms)
    hits = sum(j.opening is not None for j in judged_labels)
    false = sum(j.verdict is Verdict.FALSE for j in judged_openings)
    misses = len(inside) - hits
    delays = _delays(judged_labels)
    days = {server_id: (last - first) / DAY_MS for server_id, (first, last) in observed.items()}
    server_days = sum(days.values())
    per_server = _by_server(judged_openings, judged_labels, days)
    if len(observed) >= MIN_SERVERS_TO_RESAMPLE:
        unit, intervals = "server", _bootstrap_servers(per_server, protocol)
    else:
        unit, intervals = "incident", _bootstrap_incidents(hits, misses, false, protocol)
    return TierQuality(
        tier=tier,
        labels=len(inside),
        hits=hits,
        misses=misses,
        repeats=sum(j.verdict is Verdict.REPEAT for j in judged_openings),
        false_openings=false,
        labels_outside=len(merged) - len(inside),
        precision=_ratio(hits, hits + false),
        recall=_ratio(hits, hits + misses),
        f1=f_score(hits, misses, false, beta=1.0),
        f05=f_score(hits, misses, false, beta=0.5),
        precision_ci=intervals["precision"],
        recall_ci=intervals["recall"],
        f1_ci=intervals["f1"],
        f05_ci=intervals["f05"],
        server_days=server_days,
        false_pages_per_server_day=_ratio(false, server_days),
        delay_p50_s=_quantile(delays, 0.5),
        delay_p90_s=_quantile(delays, 0.9),
        interval_unit=unit,
        per_server=per_server,
        per_kind=_by_kind(judged_labels),
        judged_openings=judged_openings,
        judged_labels=judged_labels,
    )


def evaluate_tiers(
    labels: Sequence[Label],
    openings: Sequence[Opening],
    *,
    observed: Mapping[str, tuple[int, int]],
    protocol: Protocol = STANDARD,
) -> dict[Tier, TierQuality]:
    """Both tiers of one run, as `evaluate` gives them."""
    return {tier: evaluate(labels, openings, observed=observed, tier=tier, protocol=protocol) for tier in Tier}


def f_score(hits: int, misses: int, false: int, *, beta: float) -> float | None:
    """F-beta of counts; None when there was neither a label nor an opening."""
    weight = beta * beta
    return _ratio((1 + weight) * hits, (1 + weight) * hits + weight * misses + false)


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _cut(label: Label, span: tuple[int, int] | None) -> Label | None:
    if span is None or label.end_ms < span[0] or label.start_ms > span[1]:
        return None
    onset = None if label.onset_ms is None else min(max(label.onset_ms, span[0]), span[1])
    return replace(label, start_ms=max(label.start_ms, span[0]), end_ms=min(label.end_ms, span[1]), onset_ms=onset)


def _pages(openings: Iterable[Opening], tier: Tier) -> list[Opening]:
    """The openings that page at this tier, each incident once, in time order."""
    pages: list[Opening] = []
    seen: set[str] = set()
    for opening in sorted(openings, key=lambda o: (o.at_ms, o.server_id, o.incident_id)):
        if (tier is Tier.P1 and opening.priority != "P1") or opening.incident_id in seen:
            continue
        if opening.incident_id:
            seen.add(opening.incident_id)
        pages.append(opening)
    return pages


def _judge(
    labels: Sequence[Label], pages: Sequence[Opening], margin_ms: int
) -> tuple[tuple[JudgedOpening, ...], tuple[JudgedLabel, ...]]:
    by_server: dict[str, list[Label]] = {}
    for label in labels:
        by_server.setdefault(label.server_id, []).append(label)
    found: dict[Label, Opening] = {}
    judged = []
    for page in pages:
        near = labels if page.server_id == FLEET else by_server.get(page.server_id, ())
        covering = (x for x in near if x.start_ms - margin_ms <= page.at_ms <= x.end_ms + margin_ms)
        nearest = min(covering, key=lambda x: (x in found, x.start_ms), default=None)
        if nearest is None:
            verdict = Verdict.FALSE
        elif page.server_id == FLEET or nearest in found:
            verdict = Verdict.REPEAT  # a fleet incident names no server, so it finds no server's label
        else:
            verdict = Verdict.HIT
            found[nearest] = page
        judged.append(JudgedOpening(opening=page, verdict=verdict, label=nearest))
    outcome = []
    for label in labels:
        hit = found.get(label)
        delay = None if hit is None else (hit.at_ms - label.began_ms) / 1000
        outcome.append(JudgedLabel(label=label, opening=hit, delay_s=delay))
    return tuple(judged), tuple(outcome)


def _delays(judged: Iterable[JudgedLabel]) -> list[float]:
    return [j.delay_s for j in judged if j.delay_s is not None]


def _quantile(values: Sequence[float], q: float) -> float | None:
    return float(np.quantile(values, q)) if values else None


def _bootstrap_servers(servers: Sequence[Breakdown], protocol: Protocol) -> dict[str, Interval | None]:
    """Percentile intervals over servers drawn with replacement; the fleet's own false openings are one more unit."""
    rng = np.random.default_rng(protocol.seed)
    counts = np.array([(s.hits, s.labels - s.hits, s.false_openings) for s in servers], dtype=np.float64)
    times_drawn = rng.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), size=protocol.draws)
    return _intervals(times_drawn @ counts, protocol)


def _bootstrap_incidents(hits: int, misses: int, false: int, protocol: Protocol) -> dict[str, Interval | None]:
    """Percentile intervals over outcomes drawn one by one: a multinomial draw of their counts."""
    rng = np.random.default_rng(protocol.seed)
    total = hits + misses + false
    share = np.array([hits, misses, false]) / max(total, 1)
    drawn = rng.multinomial(total, share, size=protocol.draws) if total else np.zeros((protocol.draws, 3))
    return _intervals(drawn.astype(np.float64), protocol)


def _intervals(drawn: Floats, protocol: Protocol) -> dict[str, Interval | None]:
    """From draws of (hits, misses, false openings), shape (draws, 3)."""
    hits, misses, false = drawn.T
    parts = {
        "precision": (hits, hits + false),
        "recall": (hits, hits + misses),
        "f1": (2 * hits, 2 * hits + misses + false),
        "f05": (1.25 * hits, 1.25 * hits + 0.25 * misses + false),
    }
    tail = (1 - protocol.confidence) / 2
    intervals: dict[str, Interval | None] = {}
    for name, (part, whole) in parts.items():
        known = whole > 0  # a draw without a basis says nothing
        bounds = np.quantile(part[known] / whole[known], [tail, 1 - tail]) if known.any() else None
        intervals[name] = None if bounds is None else Interval(float(bounds[0]), float(bounds[1]))
    return intervals


def _by_server(
    openings: Sequence[JudgedOpening], labels: Sequence[JudgedLabel], days: Mapping[str, float]
) -> tuple[Breakdown, ...]:
    names = [*sorted(days), *([FLEET] if any(j.opening.server_id == FLEET for j in openings) else [])]
    rows = []
    for name in names:
        mine = [j for j in labels if j.label.server_id == name]
        false = sum(j.verdict is Verdict.FALSE and j.opening.server_id == name for j in openings)
        rows.append(_row(name, mine, false_openings=false, observed_days=days.get(name, 0.0)))
    return tuple(rows)


def _by_kind(labels: Sequence[JudgedLabel]) -> tuple[Breakdown, ...]:
    kinds = sorted({j.label.kind for j in labels if j.label.kind})
    return tuple(_row(kind, [j for j in labels if j.label.kind == kind]) for kind in kinds)


def _row(name: str, labels: Sequence[JudgedLabel], *, false_openings: int = 0, observed_days: float = 0.0) -> Breakdown:
    delays = _delays(labels)
    return Breakdown(
        name=name,
        labels=len(labels),
        hits=len(delays),
        false_openings=false_openings,
        observed_days=observed_days,
        recall=_ratio(len(delays), len(labels)),
        delay_p50_s=_quantile(delays, 0.5),
    )
