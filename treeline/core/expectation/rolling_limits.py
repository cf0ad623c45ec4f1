"""What a rolling window must keep to, for those who say so before there is one: a stage's settings, and training."""

PARTS = 12  # in which a window is kept, a sampling step each at least
# Of more metrics it is kept in fewer, longer parts: an item of the table holds 400 KB, and a state of 50 servers is to
# stay below 300 KB. In twelve parts 38 metrics have up to 352 KB.
MOST_METRICS_IN_TWELVE = 30
PARTS_OF_MANY_METRICS = 6
MOST_SERIES = 1_900  # metrics of a group's servers


def parts_for(metrics: int) -> int:
    """In how many parts a model of so many metrics keeps its window."""
    return PARTS if metrics <= MOST_METRICS_IN_TWELVE else PARTS_OF_MANY_METRICS


def why_too_short(window_s: float, step_s: float) -> str:
    """Why there cannot be such a window at this sampling step; empty where there can."""
    if window_s >= PARTS * step_s:
        return ""
    return f"must be at least {PARTS * step_s:g}, {PARTS} steps of {step_s:g} s, got {window_s:g}"


def why_too_wide(servers: int, metrics: int) -> str:
    """Why groups of so many servers cannot have a window over so many metrics; empty where they can."""
    if servers * metrics <= MOST_SERIES:
        return ""
    return f"rolling is for {MOST_SERIES} series a group at most, got {servers} servers of {metrics} metrics"
