"""Random series with a memory, made without a loop over time."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_BLOCK = 64


def smooth(series: Floats, *, steps: float) -> Floats:
    """Exponential smoothing with a time constant in steps; starts in balance at the first value."""
    keep = float(np.exp(-1.0 / steps)) if steps > 0 else 0.0
    smoothed: Floats = series[0] + _accumulate((1.0 - keep) * (series - series[0]), keep)
    return smoothed


def wander(rng: np.random.Generator, length: int, *, sd: float, steps: float) -> Floats:
    """A stationary AR(1) series of standard deviation `sd` that forgets within `steps`."""
    keep = float(np.exp(-1.0 / steps))
    shocks = rng.standard_normal(length)
    shocks[1:] *= np.sqrt(1.0 - keep * keep)
    wandering: Floats = sd * _accumulate(shocks, keep)
    return wandering


def bursts(rng: np.random.Generator, length: int, *, chance: float, size: float, steps: float) -> Floats:
    """Rare upward jumps (`chance` a step, exponential of mean `size`) that die away within `steps`."""
    jumps = rng.exponential(size, length) * (rng.random(length) < chance)
    return _accumulate(jumps, float(np.exp(-1.0 / steps)))


def tailed(rng: np.random.Generator, length: int) -> Floats:
    """White noise of unit variance with tails heavier than normal (Student's t, 5 degrees of freedom, cut at 5)."""
    clipped: Floats = np.clip(rng.standard_t(5, length) * np.sqrt(3.0 / 5.0), -5.0, 5.0)
    return clipped


def _accumulate(shocks: Floats, keep: float) -> Floats:
    """y[t] = keep * y[t-1] + shocks[t], block by block: exact, and fast without a compiler."""
    length = len(shocks)
    blocks = -(-length // _BLOCK)
    padded = np.zeros(blocks * _BLOCK)
    padded[:length] = shocks
    lags = np.subtract.outer(np.arange(_BLOCK), np.arange(_BLOCK))
    within = padded.reshape(blocks, _BLOCK) @ np.where(lags >= 0, keep ** np.maximum(lags, 0), 0.0).T
    decay = keep ** np.arange(1, _BLOCK + 1)
    carry = 0.0
    carried = np.empty(blocks)
    for i, last in enumerate(within[:, -1].tolist()):
        carried[i] = carry
        carry = last + decay[-1] * carry
    return (within + carried[:, None] * decay).reshape(-1)[:length]
