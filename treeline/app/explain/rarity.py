"""How rare a measure is in words, and what a server's own earlier peaks held back."""

from dataclasses import asdict, dataclass
from typing import Any

from treeline.app.explain.server_replay import Replayed
from treeline.core.channels import registry

MOST_WEEKS = 10_000  # a line fitted on some months of a fleet tells nothing of what is rarer


def how_rare(rarity: float) -> str:
    """How often the fleet's past reached a measure, as people say it.

    Args:
        rarity: -log10 of pages a server-week (`Thresholds.rarity`).
    """
    if rarity <= 0:
        times = _short(10.0**-rarity)
        return f"as seen about {'once' if times == '1' else f'{times} times'} a server-week"
    if 10.0**rarity > MOST_WEEKS:
        return f"as seen less than once in {MOST_WEEKS:,} server-weeks"
    return f"as seen about once in {_short(10.0**rarity)} server-weeks"


def _short(number: float) -> str:
    """Two digits."""
    return f"{float(f'{number:.2g}'):,.10g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldBack:
    """A measure that would have meant a higher tier, had the server itself not reached as much in earlier hours."""

    channel: str
    measure: float
    own_peak: float  # of the server's earlier hours, faded
    severity: float  # what it would have meant

    @classmethod
    def of(cls, step: Replayed) -> "HeldBack | None":
        """What was held back of an observation; None where nothing was."""
        if step.calibrated is None or step.peaks is None or (position := int(step.calibrated.held[0])) < 0:
            return None
        return cls(
            channel=registry.every_channel()[position].name,
            measure=float(step.calibrated.measures[0, position]),
            own_peak=float(step.peaks[position]),
            severity=float(step.calibrated.without_novelty[0]),
        )

    def __str__(self) -> str:
        """As people read it."""
        return (
            f"held back: {self.channel} {self.measure:.3g} would mean severity {self.severity:.2f}, but the server "
            f"itself reached {self.own_peak:.3g} in earlier hours: nothing new"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"text": str(self), **asdict(self)}
