"""The limits that people set on a metric without looking at its history, by what its name says.

Only shares of a whole have one: processor, memory and disk space in percent. A rate (network, disk operations) has
none: it depends on what the server can carry, which a history does not say. Nor has a metric whose name does not say
that it is in percent, as those that a publisher scaled to 0..1 by their own smallest and largest value.
"""

import re

UNNAMED = "value"  # the one metric of a history in series form; there the series' name says what it is

_PERCENT = r"percent|pct|utili[sz]ation"
_USUAL = (
    (re.compile(rf"cpu.*({_PERCENT})"), 80.0),
    (re.compile(rf"mem(ory)?.*({_PERCENT})"), 90.0),
    (re.compile(rf"disk_?(space_?)?used.*({_PERCENT})"), 90.0),
)


def usual_limit(server: str, metric: str) -> float | None:
    """What a metric (in percent) should not exceed; None where there is no usual limit."""
    name = (server if metric == UNNAMED else metric).lower()
    return next((limit for pattern, limit in _USUAL if pattern.search(name)), None)
