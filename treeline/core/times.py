"""Event time: integer milliseconds since the epoch inside, ISO 8601 UTC in records, keys and alerts."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

DEFAULT_ZONE = "UTC"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


def to_ms(moment: datetime) -> int:
    """Milliseconds since the epoch, rounded down; raises ValueError for a naive datetime."""
    if moment.tzinfo is None:
        raise ValueError(f"expected a time with a zone, got {moment.isoformat()}")
    return (moment - _EPOCH) // _MS


def from_ms(ms: int) -> datetime:
    """The UTC datetime of `ms` milliseconds since the epoch."""
    return _EPOCH + timedelta(milliseconds=ms)


def iso(ms: int) -> str:
    """Fixed-width ISO 8601 (`2026-11-22T15:58:30.000Z`), so that text order is time order."""
    return from_ms(ms).strftime("%Y-%m-%dT%H:%M:%S.") + f"{ms % 1000:03d}Z"


def parse_iso(text: str) -> int:
    """Milliseconds of an ISO 8601 time that names its zone; raises ValueError otherwise."""
    return to_ms(datetime.fromisoformat(text))


def is_zone(name: str) -> bool:
    """Whether there is an IANA time zone of that name."""
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError):  # no such file, no name of a file, no such zone
        return False
    return True
