"""SVG from series: scales, paths that keep every extreme, time axes."""

import html
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64] | NDArray[np.float32]
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
_TICKS_MS = [m * 60_000 for m in (5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 10_080, 20_160)]
NOTHING = "\u2013"  # an en dash stands where there is no figure
_FINE = 10  # path coordinates are integers of a tenth of a pixel


@dataclass(frozen=True, slots=True)
class TimeScale:
    """Event time to pixels."""

    start_ms: int
    end_ms: int
    left: float
    width: float

    def x(self, ms: float) -> float:
        """The pixel of a time, held inside the drawing."""
        share = (ms - self.start_ms) / max(1, self.end_ms - self.start_ms)
        return self.left + self.width * min(1.0, max(0.0, share))

    def ticks(self, about: int) -> Iterator[tuple[float, str, bool]]:
        """About so many (x, text, whether a day begins) at round times, UTC."""
        span = self.end_ms - self.start_ms
        step = next((t for t in _TICKS_MS if span / t <= about), _TICKS_MS[-1])
        at = -(-self.start_ms // step) * step
        while at <= self.end_ms:
            moment = datetime.fromtimestamp(at / 1000, UTC)
            midnight = at % DAY_MS == 0
            yield self.x(at), f"{moment:%a %d %b}" if midnight else f"{moment:%H:%M}", midnight
            at += step


@dataclass(frozen=True, slots=True)
class ValueScale:
    """Values to pixels, upside up."""

    low: float
    high: float
    top: float
    height: float

    def y(self, value: float) -> float:
        """The pixel of a value, held inside the drawing."""
        share = (value - self.low) / (self.high - self.low)
        return self.top + self.height * (1.0 - min(1.0, max(0.0, share)))


def value_scale(series: list[Array], *, top: float, height: float, zero: bool = False) -> ValueScale:
    """A scale that holds every finite value, with some air; from 0 if `zero` or nearly there anyway."""
    finite = [s[np.isfinite(s)] for s in series]
    filled = [s for s in finite if len(s)]
    low = min((float(s.min()) for s in filled), default=0.0)
    high = max((float(s.max()) for s in filled), default=1.0)
    if zero or 0 <= low < 0.35 * high:
        low = min(0.0, low)
    air = 0.06 * (high - low) or max(abs(high) * 0.1, 0.5)
    return ValueScale(low if low == 0.0 else low - air, high + air, top, height)


def line_path(
    times_ms: NDArray[np.int64], values: Array, xs: TimeScale, ys: ValueScale, *, columns: int, step_ms: float
) -> str:
    """A path through a series, its lowest and highest point of each column kept; broken where data is missing.

    Coordinates are integers of a tenth of a pixel: draw it inside `<g transform="scale(.1)">`.
    """
    good = np.isfinite(values)
    times, kept = times_ms[good], np.asarray(values, dtype=np.float64)[good]
    if not len(times):
        return ""
    times, kept = extremes(times, kept, start_ms=xs.start_ms, end_ms=xs.end_ms, columns=columns)
    span = max(1, xs.end_ms - xs.start_ms)
    x = np.rint(_FINE * (xs.left + xs.width * np.clip((times - xs.start_ms) / span, 0, 1))).astype(int)
    share = np.clip((kept - ys.low) / (ys.high - ys.low), 0, 1)
    y = np.rint(_FINE * (ys.top + ys.height * (1 - share))).astype(int)
    apart = np.diff(times) > max(4.0 * step_ms, 3.0 * span / columns)
    parts = [f"M{x[0]} {y[0]}l"]
    for i in range(1, len(x)):
        if apart[i - 1]:
            parts.append(f"M{x[i]} {y[i]}l")
        else:
            parts.append(f"{x[i] - x[i - 1]} {y[i] - y[i - 1]} ")
    return "".join(parts).replace(" -", "-").replace("l ", "l").replace(" M", "M").strip()


def band_path(
    times_ms: NDArray[np.int64], low: Array, high: Array, xs: TimeScale, ys: ValueScale, *, columns: int
) -> str:
    """A closed area between two series, thinned to `columns` points; the scale is that of `line_path`."""
    good = np.flatnonzero(np.isfinite(low) & np.isfinite(high))
    if len(good) < 2:
        return ""
    good = good[np.unique(np.linspace(0, len(good) - 1, min(columns, len(good))).astype(int))]
    x = [_FINE * xs.x(float(t)) for t in times_ms[good]]
    up = [f"{px:.0f} {_FINE * ys.y(float(v)):.0f}" for px, v in zip(x, high[good], strict=True)]
    down = [f"{px:.0f} {_FINE * ys.y(float(v)):.0f}" for px, v in zip(x, low[good], strict=True)]
    return f"M{'L'.join(up)}L{'L'.join(reversed(down))}Z"


def extremes(
    times_ms: NDArray[np.int64], values: NDArray[np.float64], *, start_ms: int, end_ms: int, columns: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The lowest and the highest point of each of `columns` equal stretches of time, in time order."""
    if len(times_ms) <= 2 * columns:
        return times_ms, values
    column = (times_ms - start_ms) * columns // max(1, end_ms - start_ms + 1)
    by_value = np.lexsort((values, column))
    firsts = np.flatnonzero(np.diff(column[by_value], prepend=column[by_value[0]] - 1))
    lasts = np.append(firsts[1:], len(by_value)) - 1
    kept = np.unique(np.concatenate([by_value[firsts], by_value[lasts]]))
    return times_ms[kept], values[kept]


def number(value: float | None, digits: int = 3) -> str:
    """A value for people: about `digits` significant figures, thousands apart, a dash for nothing."""
    if value is None or not np.isfinite(value):
        return NOTHING
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def duration(seconds: float | None) -> str:
    """A length of time for people."""
    if seconds is None or not np.isfinite(seconds):
        return NOTHING
    sign, size = ("\u2212" if seconds < 0 else ""), abs(seconds)
    if size < 1:
        return f"{sign}{size * 1000:.0f} ms"
    if size < 60:
        return f"{sign}{size:.3g} s"
    if size < 5400:
        return f"{sign}{size / 60:.0f} min"
    if size < 172_800:
        return f"{sign}{size / 3600:.1f} h"
    return f"{sign}{size / 86_400:.1f} days"


def moment(ms: int) -> str:
    """A time for people, UTC."""
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M}Z"


def text(value: object) -> str:
    """A value as HTML text."""
    return html.escape(str(value))
