"""The settings of the incident policy, apart from it: functions without numpy import them too."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from treeline.core.alert import P1_SEVERITY
from treeline.core.channels.score_rule import ScoreSettings
from treeline.core.setting import Settings, WrongSettingError, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySettings(Settings):
    """When exceedances become an incident, and when it is over."""

    needed: int = setting(2, meaning="Exceedances that open an incident, of the last `of_last` observations.")
    of_last: int = setting(3, low=1, high=32, meaning="Observations among which exceedances are counted.")
    alone_severity: float = setting(
        0.0,
        low=0,
        meaning="From this severity on one observation opens P1, where three metrics or more lie twice as far out as "
        "their band; 0: never, as what a group shares is known one step later. Nor with `fleet_min_servers`.",
    )
    quiet_s: float = setting(3600.0, low=0, meaning="Without an exceedance for so long, an incident is resolved.")
    cooldown_s: float = setting(0.0, low=0, meaning="After a resolution nothing opens for so long.")
    fleet_min_servers: int = setting(
        0,
        meaning="From so many servers on, what a group does together is taken off each server's severity and is an "
        "incident of its own; 0 switches that off: peers' common mode is taken off before (decision 0135).",
    )
    score: ScoreSettings = setting(ScoreSettings, meaning="What the forest's score is held against.")

    def check(self) -> None:
        """Persistence can be met, and one observation opens P1 only above P1."""
        if not 1 <= self.needed <= self.of_last:
            raise WrongSettingError("needed", f"must be in [1, of_last], got {self.needed} of {self.of_last}")

        if 0 < self.alone_severity <= P1_SEVERITY:
            raise WrongSettingError("alone_severity", f"must be 0 or > {P1_SEVERITY:g}, got {self.alone_severity:g}")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """Read what `to_json` gave, of this or an earlier version; raises TypeError or ValueError for what is not."""
        return cls(**{**body, "score": ScoreSettings.from_json(body.get("score", {}))})
