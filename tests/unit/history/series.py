"""A server's metrics at one minute, and their averages."""

import numpy as np

MINUTE_MS = 60_000


def minutes(days, *, seed=5, start_ms=0):
    """Times (n,) and values (n, 2): a daily wave, noise that lasts about 20 minutes, and noise that does not."""
    rng = np.random.default_rng(seed)
    n = days * 1440
    times = start_ms + np.arange(n) * MINUTE_MS
    wave = np.sin(np.arange(n) / 1440 * 2 * np.pi)
    slow = np.convolve(rng.normal(size=n + 19), np.ones(20) / 20**0.5, "valid")
    fast = rng.normal(size=(n, 2))
    values = np.column_stack([50 + 3 * wave + 2 * slow + 4 * fast[:, 0], 20 + wave + 3 * fast[:, 1]])
    return times, values


def averaged(times, values, period_s):
    """Averages over whole periods, stamped with their start, as CloudWatch keeps them."""
    per = period_s // 60
    n = len(times) // per
    return times[: n * per : per], values[: n * per].reshape(n, per, -1).mean(axis=1)
