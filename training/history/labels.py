"""Labelled incidents, and how a set of labels is meant to be read."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

MINUTE_MS = 60_000
SILENT = "silent"  # kind of a label that says that nothing comes
FLEET = "fleet"  # stands as server_id on an incident of the whole fleet


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """A labelled incident of one server, from onset to its last abnormal minute, both inclusive."""

    server_id: str
    start_ms: int
    end_ms: int
    kind: str = ""
    onset_ms: int | None = None  # where the trouble began, if that is not the start (a window around a point)
    event: str = ""  # the same on all servers that one cause hit; empty where it hit this server alone
    breached_ms: int | None = None  # first breach of the service's objective that it caused; None: none known

    @property
    def began_ms(self) -> int:
        """What a delay counts from."""
        return self.start_ms if self.onset_ms is None else self.onset_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """The protocol's own constants; the defaults are those of every figure in docs/."""

    merge_ms: int = 60 * MINUTE_MS  # labels closer than this are one
    margin_ms: int = 10 * MINUTE_MS  # how far beside a label an opening still finds it
    coalesce_s: float | None = 2.0  # openings of one step decided within it are one page; None: each is its own
    event_window_ms: int = 0  # further openings within it join an event; 0: those of one step alone
    draws: int = 2000  # bootstrap resamples
    confidence: float = 0.95
    seed: int = 7


STANDARD = Protocol()
NAB_WINDOWS = Protocol(merge_ms=0, margin_ms=0)  # NAB's windows hold their own tolerance and stand each for itself


def merge_labels(labels: Iterable[Label], *, gap_ms: int) -> list[Label]:
    """Labels by server and time, those of one server less than `gap_ms` apart (end to start) made one.

    A merged label of several kinds or events names them all, joined by `+` in order of onset; its breach is the first.
    """
    merged: list[Label] = []
    for label in sorted(labels, key=lambda each: (each.server_id, each.start_ms, each.end_ms)):
        last = merged[-1] if merged else None
        if last and last.server_id == label.server_id and label.start_ms - last.end_ms < gap_ms:
            merged[-1] = replace(
                last,
                end_ms=max(last.end_ms, label.end_ms),
                kind=_both(last.kind, label.kind),
                event=_both(last.event, label.event),
                breached_ms=min((ms for ms in (last.breached_ms, label.breached_ms) if ms is not None), default=None),
            )
        else:
            merged.append(label)
    return merged


def _both(first: str, second: str) -> str:
    return "+".join(dict.fromkeys(name for name in (*first.split("+"), *second.split("+")) if name))
