"""Times and durations as people type them."""

import argparse
import re
from datetime import UTC, datetime

from treeline.core.errors import UsageError
from treeline.core.times import to_ms

_UNITS_MS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}


def moment(text: str) -> datetime:
    """An ISO 8601 date or time, UTC where it names no zone; for `type=` of an option."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a date or time such as 2026-11-23T18:00, got {text!r}") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def moment_ms(text: str) -> int:
    """The same in milliseconds."""
    return to_ms(moment(text))


def duration_ms(text: str) -> int:
    """90m, 2h or 3d in milliseconds; for `type=` of an option."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([mhd])", text)
    if match is None or float(match[1]) == 0:
        raise argparse.ArgumentTypeError(f"expected a duration such as 90m, 2h or 3d, got {text!r}")
    return round(float(match[1]) * _UNITS_MS[match[2]])


def window_ms(start_ms: int | None, until_ms: int | None, for_ms: int | None, now_ms: int) -> tuple[int, int]:
    """The start and end that options --from, --until and --for mean; raises UsageError where an end is missing."""
    start = now_ms if start_ms is None else start_ms
    if until_ms is None and for_ms is None:
        raise UsageError("say when it ends: --until TIME or --for DURATION")
    return start, until_ms if until_ms is not None else start + (for_ms or 0)
