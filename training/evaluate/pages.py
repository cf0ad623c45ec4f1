"""From openings of incidents to pages: what a person's telephone would have shown.

A page is of one server, or of an event: many servers that open together. Openings of one step that are decided within
`coalesce_s` wait for each other; where they are k servers or more (k = max(3, 10 % of the servers)), one page lists
them all. With `event_window_ms` the k-th opening within it makes the event too: the pages that were sent before it
stay pages, and servers that open later join without a page of their own.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby

from training.history.labels import FLEET, STANDARD, Protocol

MIN_EVENT_SERVERS = 3
EVENT_SHARE = 0.1


class Tier(StrEnum):
    """Which openings count as pages: P1 alone (escalations to P1 too), or every incident."""

    P1 = "P1"
    ALL = "P1+P2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """One moment at which an incident began to page at `priority`.

    An incident that opens as P2 and rises to P1 gives two openings of the same `incident_id`.
    """

    server_id: str
    at_ms: int  # event time of the deciding observation
    priority: str  # "P1" or "P2"
    incident_id: str = ""
    decided_ms: int | None = None  # on the wall clock; None where all observations of a step are decided at once


@dataclass(frozen=True, slots=True, kw_only=True)
class SentPage:
    """What is sent once.

    Attributes:
        openings: Of the servers it lists, in time order; those that joined later too.
        earlier: Of an event: openings that had a page of their own before it.
        least: Of an event: how many servers make one; 1 for a page of one server.
    """

    openings: tuple[Opening, ...]
    earlier: tuple[Opening, ...] = ()
    least: int = 1

    @property
    def is_event(self) -> bool:
        """Whether it lists many servers."""
        return self.least > 1


def event_size(servers: int) -> int:
    """How many servers that open together make an event."""
    return max(MIN_EVENT_SERVERS, math.ceil(EVENT_SHARE * servers))


def paging(openings: Iterable[Opening], tier: Tier) -> list[Opening]:
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


def pages(openings: Sequence[Opening], *, servers: int, step_ms: int, protocol: Protocol) -> list[SentPage]:
    """Openings as pages.

    Args:
        openings: As `paging` gives them.
        servers: How many servers are watched.
        step_ms: The sampling step.
        protocol: Its `coalesce_s` and `event_window_ms`.
    """
    least, window_ms = event_size(servers), protocol.event_window_ms
    done = [SentPage(openings=(opening,)) for opening in openings if opening.server_id == FLEET]  # names no server
    recent: list[Opening] = []  # had a page of their own, within the window
    event: SentPage | None = None
    for batch in _batches([o for o in openings if o.server_id != FLEET], step_ms, protocol.coalesce_s):
        at_ms = batch[0].at_ms
        recent = [opening for opening in recent if window_ms and at_ms - opening.at_ms <= window_ms]
        if event is not None and (not window_ms or at_ms - event.openings[-1].at_ms > window_ms):
            done.append(event)
            event = None
        if event is not None:
            event = SentPage(openings=(*event.openings, *batch), earlier=event.earlier, least=least)
        elif len({opening.server_id for opening in (*recent, *batch)}) >= least:
            event, recent = SentPage(openings=batch, earlier=tuple(recent), least=least), []
        else:
            done += [SentPage(openings=(opening,)) for opening in batch]
            recent += batch
    return done if event is None else [*done, event]


def page_count(
    openings: Iterable[Opening], tier: Tier, *, servers: int, step_ms: int, protocol: Protocol = STANDARD
) -> int:
    """How many pages openings make at a tier; see `paging` and `pages`."""
    return len(pages(paging(openings, tier), servers=servers, step_ms=step_ms, protocol=protocol))


def _batches(openings: Sequence[Opening], step_ms: int, coalesce_s: float | None) -> Iterator[tuple[Opening, ...]]:
    """Openings of one step that are decided within `coalesce_s` of the first of them; each for itself where None."""
    if coalesce_s is None:
        yield from ((opening,) for opening in openings)
        return
    for _, step in groupby(openings, key=lambda opening: opening.at_ms // step_ms):
        batch: list[Opening] = []
        for opening in sorted(step, key=lambda o: (_decided(o), o.at_ms, o.server_id)):
            if batch and _decided(opening) - _decided(batch[0]) > coalesce_s * 1000:
                yield tuple(batch)
                batch = []
            batch.append(opening)
        yield tuple(batch)


def _decided(opening: Opening) -> int:
    """When it was decided, ms; openings of one step that say nothing of it are decided at once."""
    return 0 if opening.decided_ms is None else opening.decided_ms
