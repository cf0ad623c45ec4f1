"""How good the pages were: page by page against labelled incidents, never point-adjusted.

Labels of one server less than an hour apart count as one. A page finds a label inside it, or up to ten minutes beside
it, and where in the label tells what it is worth:

- at the *onset*: within max(min(half the label, 30 min), 3 steps) of its start, or before it;
- at the *recovery*: in the last max(2 steps, 10 %) of it or after its end, where that is not the onset. Who is paged
  because things return to normal is paged in vain: no hit, and false;
- *later*: anywhere else.

The first page at the onset or later is the label's hit; further ones on the same label are repeats and count neither
way; every other page is false. A page of an event (`training.evaluate.pages`) hits the labels of the servers it lists;
it is false where fewer than k of them (its own k), and fewer than half, are labelled, and each of its servers without
a label was paged in vain. An incident of a group of servers that names none hits nothing; it is a repeat where k
servers are labelled at that moment, else false.

Precision is hits / (hits + false pages), recall is hits / labels. A figure that has nothing to stand on (precision
without pages, recall without labels) is None, never 0 or 1.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

import numpy as np

from training.evaluate.intervals import Intervals, intervals
from training.evaluate.pages import Opening, SentPage, Tier, event_size, pages, paging
from training.history.labels import FLEET, MINUTE_MS, SILENT, STANDARD, Label, Protocol, merge_labels
from training.history.observed import ObservedServers

ONSET_MS = 30 * MINUTE_MS
ONSET_SHARE, ONSET_STEPS = 0.5, 3
RECOVERY_SHARE, RECOVERY_STEPS = 0.1, 2


class Verdict(StrEnum):
    """What a page, or one server on it, was worth."""

    HIT = "hit"  # the first on a label
    REPEAT = "repeat"  # a later one on a label that was already hit
    FALSE = "false"  # no label, or at its recovery


class Place(StrEnum):
    """Where in a label a page comes."""

    ONSET = "onset"
    LATER = "later"
    RECOVERY = "recovery"


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedOpening:
    """An opening, what it was worth, and the label it fell on."""

    opening: Opening
    verdict: Verdict
    label: Label | None = None
    place: Place | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedPage:
    """A page: a HIT when it hit any label and is not false; `servers` are judged one by one."""

    page: SentPage
    verdict: Verdict
    servers: tuple[JudgedOpening, ...]

    @property
    def in_vain(self) -> int:
        """Of an event: servers listed without a label. A false page of one server counts as false, not here."""
        return sum(each.verdict is Verdict.FALSE for each in self.servers) if self.page.is_event else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedLabel:
    """A (merged) label and the opening that hit it.

    Attributes:
        delay_s: From the first observation of the trouble to the page; negative: before it.
        lead_s: From the page to the first breach of the service's objective; negative: after it.
    """

    label: Label
    opening: Opening | None = None
    place: Place | None = None
    delay_s: float | None = None
    lead_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Breakdown:
    """The counts of one server, or of one kind of incident (which has no false pages of its own)."""

    name: str
    labels: int
    hits: int
    false_pages: int = 0
    observed_days: float = 0.0
    recall: float | None = None
    delay_p50_s: float | None = None
    breached: int = 0
    before_breach: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TierQuality:
    """One tier's result; figures without a basis are None.

    Attributes:
        pages: Sent in all: the true ones, the repeats and the false ones.
        hits: Labels that were hit, `hits_at_onset` of them at their onset.
        repeats: Pages on labels that were already hit.
        false_pages: `recoveries` of them came when the trouble was ending.
        in_vain: Servers without a label that pages of events listed.
        labels_outside: Labels without an observation; not counted as labels.
        breached: Labels that breached their service's objective; for `before_breach` of them the page came first, by
            `lead_p50_s` in the median.
    """

    tier: Tier
    labels: int
    hits: int
    hits_at_onset: int
    misses: int
    pages: int
    repeats: int
    false_pages: int
    recoveries: int
    in_vain: int
    labels_outside: int
    precision: float | None
    recall: float | None
    f1: float | None
    f05: float | None
    intervals: Intervals
    server_days: float
    false_pages_per_server_day: float | None
    delay_p50_s: float | None
    delay_p90_s: float | None
    breached: int
    before_breach: int
    lead_p50_s: float | None
    per_server: tuple[Breakdown, ...]
    per_kind: tuple[Breakdown, ...]
    judged_pages: tuple[JudgedPage, ...] = field(repr=False)
    judged_labels: tuple[JudgedLabel, ...] = field(repr=False)

    @property
    def judged_openings(self) -> tuple[JudgedOpening, ...]:
        """Of all pages, in their order."""
        return tuple(opening for page in self.judged_pages for opening in page.servers)

    def to_json(self) -> dict[str, Any]:
        """Every figure as plain JSON values, without the judged pages and labels."""
        body = asdict(replace(self, judged_pages=(), judged_labels=()))
        del body["judged_pages"], body["judged_labels"]
        return body


def evaluate(
    labels: Sequence[Label],
    openings: Sequence[Opening],
    *,
    observed: ObservedServers,
    step_ms: int,
    tier: Tier | str,
    protocol: Protocol = STANDARD,
) -> TierQuality:
    """Judge pages against labels.

    Args:
        labels: Labelled incidents, in any order, overlapping or not.
        openings: When incidents opened (and rose to P1), in any order.
        observed: When each server was observed. A label without an observation is left out and counted in
            `labels_outside`; one that reaches outside the observed time is cut.
        step_ms: The sampling step.
        tier: `P1` counts openings at P1 only; `P1+P2` counts each incident once, at its first opening.
        protocol: Merge gap, margin, what makes one page of many, and bootstrap settings.

    Raises:
        ValueError: An opening is of a server that was not observed (the fleet aside).
    """
    tier = Tier(tier)
    merged = merge_labels(labels, gap_ms=protocol.merge_ms)
    inside = [cut for label in merged if (cut := _observed_part(label, observed)) is not None]
    opened = paging(openings, tier)
    strangers = sorted({o.server_id for o in opened} - set(observed) - {FLEET})
    if strangers:
        raise ValueError(f"openings of servers that were not observed: {', '.join(strangers)}")
    sent = pages(opened, servers=len(observed), step_ms=step_ms, protocol=protocol)
    found = _Found(inside, step_ms=step_ms, margin_ms=protocol.margin_ms, event_size=event_size(len(observed)))
    judged = tuple(found.judge(page) for page in sorted(sent, key=lambda page: page.openings[0].at_ms))
    judged_labels = tuple(_judged_label(label, found.hits.get(label), observed) for label in inside)
    days = {server_id: times.days for server_id, times in observed.items()}
    return _quality(
        tier, judged, judged_labels, _by_server(judged, judged_labels, days), len(merged) - len(inside), protocol
    )


def pooled(results: Mapping[str, TierQuality], protocol: Protocol = STANDARD) -> TierQuality:
    """Several fleets judged as one: each was judged by itself, counts add up, servers are told apart by fleet.

    Args:
        results: One tier's result of each fleet, by the fleet's name; at least one.
        protocol: Bootstrap settings.
    """
    each = tuple(results.values())
    rows = tuple(replace(row, name=f"{name}/{row.name}") for name, e in results.items() for row in e.per_server)
    pages_of_all = tuple(page for e in each for page in e.judged_pages)
    labels_of_all = tuple(label for e in each for label in e.judged_labels)
    outside = sum(e.labels_outside for e in each)
    return _quality(each[0].tier, pages_of_all, labels_of_all, rows, outside, protocol)


# long: one figure a line
def _quality(
    tier: Tier,
    judged: tuple[JudgedPage, ...],
    labels: tuple[JudgedLabel, ...],
    per_server: tuple[Breakdown, ...],
    labels_outside: int,
    protocol: Protocol,
) -> TierQuality:
    """The figures of judged pages and labels."""
    hits, false = sum(j.opening is not None for j in labels), sum(page.verdict is Verdict.FALSE for page in judged)
    misses = len(labels) - hits
    of_all = _row("", labels)
    delays = _known(j.delay_s for j in labels)
    server_days = sum(row.observed_days for row in per_server)
    return TierQuality(
        tier=tier,
        labels=len(labels),
        hits=hits,
        hits_at_onset=sum(j.place is Place.ONSET for j in labels),
        misses=misses,
        pages=len(judged),
        repeats=sum(page.verdict is Verdict.REPEAT for page in judged),
        false_pages=false,
        recoveries=sum(
            page.verdict is Verdict.FALSE and any(each.place is Place.RECOVERY for each in page.servers)
            for page in judged
        ),
        in_vain=sum(page.in_vain for page in judged),
        labels_outside=labels_outside,
        precision=_ratio(hits, hits + false),
        recall=_ratio(hits, hits + misses),
        f1=f_score(hits, misses, false, beta=1.0),
        f05=f_score(hits, misses, false, beta=0.5),
        intervals=intervals(
            [(row.hits, row.labels - row.hits, row.false_pages) for row in per_server],
            servers=sum(row.observed_days > 0 for row in per_server),
            protocol=protocol,
        ),
        server_days=server_days,
        false_pages_per_server_day=_ratio(false, server_days),
        delay_p50_s=_quantile(delays, 0.5),
        delay_p90_s=_quantile(delays, 0.9),
        breached=of_all.breached,
        before_breach=of_all.before_breach,
        lead_p50_s=_quantile([lead for lead in _known(j.lead_s for j in labels) if lead > 0], 0.5),
        per_server=per_server,
        per_kind=_by_kind(labels),
        judged_pages=judged,
        judged_labels=labels,
    )


def evaluate_tiers(
    labels: Sequence[Label],
    openings: Sequence[Opening],
    *,
    observed: ObservedServers,
    step_ms: int,
    protocol: Protocol = STANDARD,
) -> dict[Tier, TierQuality]:
    """Both tiers of one run, as `evaluate` gives them; none without labels, as nothing is judged then."""
    if not labels:
        return {}
    return {
        tier: evaluate(labels, openings, observed=observed, step_ms=step_ms, tier=tier, protocol=protocol)
        for tier in Tier
    }


def place_of(label: Label, at_ms: int, step_ms: int) -> Place:
    """Where in a label a page comes; `label.onset_ms`, where known, stands for its start.

    A label around a point says where the trouble is, not when it ends: it has no recovery.
    """
    length = label.end_ms - label.start_ms
    if at_ms - label.began_ms <= max(min(ONSET_SHARE * length, ONSET_MS), ONSET_STEPS * step_ms):
        return Place.ONSET
    is_ending = label.end_ms - at_ms <= max(RECOVERY_SHARE * length, RECOVERY_STEPS * step_ms)
    return Place.RECOVERY if is_ending and label.onset_ms is None else Place.LATER


def f_score(hits: int, misses: int, false: int, *, beta: float) -> float | None:
    """F-beta of counts; None when there was neither a label nor a page."""
    weight = beta * beta
    return _ratio((1 + weight) * hits, (1 + weight) * hits + weight * misses + false)


class _Found:
    """Judges pages in the order in which they were sent, and keeps which labels were hit."""

    def __init__(self, labels: Sequence[Label], *, step_ms: int, margin_ms: int, event_size: int) -> None:
        self.hits: dict[Label, tuple[Opening, Place]] = {}
        self._step_ms, self._margin_ms, self._event_size = step_ms, margin_ms, event_size
        self._by_server: dict[str, list[Label]] = {}
        for label in labels:
            self._by_server.setdefault(label.server_id, []).append(label)

    def judge(self, page: SentPage) -> JudgedPage:
        """A page and the servers it lists."""
        if page.openings[0].server_id == FLEET:
            return self._unnamed(page)
        # Who had a page before the event found its label then: these are repeats now.
        labelled = {o.server_id for o in page.earlier if self._opening(o).verdict is not Verdict.FALSE}
        servers = tuple(self._opening(opening) for opening in page.openings)
        labelled |= {each.opening.server_id for each in servers if each.verdict is not Verdict.FALSE}
        listed = {opening.server_id for opening in (*page.earlier, *page.openings)}
        if len(labelled) < min(page.least, math.ceil(len(listed) / 2)):
            verdict = Verdict.FALSE
        elif any(each.verdict is Verdict.HIT for each in servers):
            verdict = Verdict.HIT
        else:
            verdict = Verdict.REPEAT
        return JudgedPage(page=page, verdict=verdict, servers=servers)

    def _opening(self, opening: Opening) -> JudgedOpening:
        """One server's part of a page."""
        near = [
            (label, place_of(label, opening.at_ms, self._step_ms))
            for label in self._by_server.get(opening.server_id, ())
            if label.start_ms - self._margin_ms <= opening.at_ms <= label.end_ms + self._margin_ms
        ]
        for label, place in near:
            if label not in self.hits and place is not Place.RECOVERY:
                self.hits[label] = (opening, place)
                return JudgedOpening(opening=opening, verdict=Verdict.HIT, label=label, place=place)
        for label, place in near:
            if label in self.hits:
                return JudgedOpening(opening=opening, verdict=Verdict.REPEAT, label=label, place=place)
        if near:
            return JudgedOpening(opening=opening, verdict=Verdict.FALSE, label=near[0][0], place=near[0][1])
        return JudgedOpening(opening=opening, verdict=Verdict.FALSE)

    def _unnamed(self, page: SentPage) -> JudgedPage:
        """An incident of a group that names no server."""
        at_ms = page.openings[0].at_ms
        labelled = sum(
            any(label.start_ms - self._margin_ms <= at_ms <= label.end_ms + self._margin_ms for label in labels)
            for labels in self._by_server.values()
        )
        verdict = Verdict.REPEAT if labelled >= self._event_size else Verdict.FALSE
        return JudgedPage(
            page=page, verdict=verdict, servers=(JudgedOpening(opening=page.openings[0], verdict=verdict),)
        )


def _observed_part(label: Label, observed: ObservedServers) -> Label | None:
    times = observed.get(label.server_id)
    if times is None or label.end_ms < times.first_ms or label.start_ms > times.last_ms:
        return None
    if label.kind != SILENT and not times.any_within(label.start_ms, label.end_ms):
        return None  # nothing could be seen of it; that nothing comes is all there is to see of a silence
    first, last = times.first_ms, times.last_ms
    onset = None if label.onset_ms is None else min(max(label.onset_ms, first), last)
    return replace(label, start_ms=max(label.start_ms, first), end_ms=min(label.end_ms, last), onset_ms=onset)


def _judged_label(label: Label, hit: tuple[Opening, Place] | None, observed: ObservedServers) -> JudgedLabel:
    if hit is None:
        return JudgedLabel(label=label)
    opening, place = hit
    seen_ms = observed[label.server_id].first_from(label.began_ms)
    return JudgedLabel(
        label=label,
        opening=opening,
        place=place,
        delay_s=(opening.at_ms - (label.began_ms if seen_ms is None else seen_ms)) / 1000,
        lead_s=None if label.breached_ms is None else (label.breached_ms - opening.at_ms) / 1000,
    )


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _quantile(values: Sequence[float], q: float) -> float | None:
    return float(np.quantile(values, q)) if values else None


def _by_server(
    judged: Sequence[JudgedPage], labels: Sequence[JudgedLabel], days: Mapping[str, float]
) -> tuple[Breakdown, ...]:
    """A false page of an event, or of an incident that names no server, counts for the fleet."""
    false: dict[str, int] = {}
    for page in judged:
        if page.verdict is Verdict.FALSE:
            name = FLEET if page.page.is_event else page.page.openings[0].server_id
            false[name] = false.get(name, 0) + 1
    own: dict[str, list[JudgedLabel]] = {}
    for label in labels:
        own.setdefault(label.label.server_id, []).append(label)
    names = [*sorted(days), *([FLEET] if FLEET in false else [])]
    return tuple(
        _row(name, own.get(name, []), false_pages=false.get(name, 0), observed_days=days.get(name, 0.0))
        for name in names
    )


def _by_kind(labels: Sequence[JudgedLabel]) -> tuple[Breakdown, ...]:
    kinds = sorted({j.label.kind for j in labels if j.label.kind})
    return tuple(_row(kind, [j for j in labels if j.label.kind == kind]) for kind in kinds)


def _row(name: str, labels: Sequence[JudgedLabel], *, false_pages: int = 0, observed_days: float = 0.0) -> Breakdown:
    delays = _known(j.delay_s for j in labels)
    return Breakdown(
        name=name,
        labels=len(labels),
        hits=len(delays),
        false_pages=false_pages,
        observed_days=observed_days,
        recall=_ratio(len(delays), len(labels)),
        delay_p50_s=_quantile(delays, 0.5),
        breached=sum(j.label.breached_ms is not None for j in labels),
        before_breach=sum(j.lead_s is not None and j.lead_s > 0 for j in labels),
    )
