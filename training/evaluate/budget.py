"""A page budget: how many pages people want to get, read from a sentence or from a stage's settings."""

import re
from dataclasses import dataclass
from typing import Self

from treeline.core.errors import UsageError
from treeline.settings.learning import PageBudget

DAYS = {"day": 1.0, "week": 7.0, "month": 30.0}
_PART = re.compile(r"^(\d+(?:\.\d+)?)\s*(P1|P2)$", re.IGNORECASE)
_WHOLE = re.compile(r"^(?P<parts>.+?)\s+per\s+(?P<scope>server|fleet)-(?P<period>day|week|month)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """At most so many pages a server and day: `p1` at P1, and at P1 and P2 together `p1` + `p2`."""

    p1: float
    p2: float
    text: str

    @classmethod
    def parse(cls, text: str, *, servers: int) -> Self:
        """Read "1 P1 and 2 P2 per server-month"; also fleet-, and -day, -week.

        Raises:
            UsageError: It reads differently, or names a tier twice or not at all.
        """
        whole = _WHOLE.match(text.strip())
        pages: dict[str, float] = {}
        for part in re.split(r"\s*(?:,|\band\b)\s*", whole["parts"]) if whole else []:
            one = _PART.match(part.strip())
            if one is None or one[2].upper() in pages:
                whole = None
                break
            pages[one[2].upper()] = float(one[1])
        if whole is None or set(pages) != {"P1", "P2"}:
            raise UsageError(f"a budget is {text!r}, expected the form '1 P1 and 2 P2 per server-month'")
        days = DAYS[whole["period"].lower()] * (servers if whole["scope"].lower() == "fleet" else 1)
        return cls(p1=pages["P1"] / days, p2=pages["P2"] / days, text=text.strip())

    @classmethod
    def of(cls, setting: PageBudget) -> Self | None:
        """A stage's own (`learning.page_budget`); None where it has none."""
        if setting.p1_per_week is None or setting.p2_per_day is None:
            return None
        return cls(
            p1=setting.p1_per_week / DAYS["week"] / setting.servers,
            p2=setting.p2_per_day / setting.servers,
            text=f"{setting.p1_per_week:g} P1 a week and {setting.p2_per_day:g} P2 a day for {setting.servers} servers",
        )
