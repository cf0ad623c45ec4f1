"""Fit a forest as SageMaker's training job does: from the files of a channel and a map of hyperparameters."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from treeline.core.errors import UsageError
from treeline.forest import content
from treeline.forest.forest import RandomCutForest, checked_rows

# name -> smallest, largest, default (None: must be given); the built-in algorithm's.
_RANGES: dict[str, tuple[int, int, int | None]] = {
    "feature_dim": (1, 10_000, None),
    "num_trees": (50, 1000, 100),
    "num_samples_per_tree": (1, 2048, 256),
}
# Accepted and without effect on the forest: they concern a test channel or the SDK's own batching.
_IGNORED = frozenset({"eval_metrics", "mini_batch_size", "_tuning_objective_metric", "force_dense"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyperparameters:
    """SageMaker's Random Cut Forest hyperparameters, checked."""

    feature_dim: int
    num_trees: int
    num_samples_per_tree: int

    @classmethod
    def parse(cls, given: Mapping[str, str]) -> Self:
        """Read the string map of a training job; raises UsageError naming the parameter, its value and range."""
        unknown = sorted(set(given) - set(_RANGES) - _IGNORED)
        if unknown:
            raise UsageError(f"unknown hyperparameter {unknown[0]!r}; known are {', '.join(sorted(_RANGES))}")
        values: dict[str, int] = {}
        for name, (smallest, largest, default) in _RANGES.items():
            text = given.get(name)
            if text is None:
                if default is None:
                    raise UsageError(f"hyperparameter {name} is required")
                values[name] = default
                continue
            try:
                values[name] = int(text)
            except ValueError:
                raise UsageError(f"hyperparameter {name} must be a whole number, got {text!r}") from None
            if not smallest <= values[name] <= largest:
                raise UsageError(f"hyperparameter {name} must be in [{smallest}, {largest}], got {text}")
        return cls(**values)


def fit_channel(files: Iterable[tuple[str, bytes]], hyperparameters: Mapping[str, str], seed: int) -> RandomCutForest:
    """Fit a forest on the files of a train channel, one in memory at a time.

    Args:
        files: (content type, content); CSV without label_size has its label first, as in SageMaker training.
            Labels are not used.
        hyperparameters: feature_dim (required), num_trees 50..1000, num_samples_per_tree 1..2048, as text.
        seed: SageMaker has none; ours makes training repeatable.

    Raises:
        UsageError: A hyperparameter or a file cannot be used; names it, and the row where there is one to name.
    """
    asked = Hyperparameters.parse(hyperparameters)
    sample = RowSample(asked.num_trees * asked.num_samples_per_tree, np.random.default_rng([seed, 1]))
    for number, (content_type, body) in enumerate(files):
        try:
            rows, _ = content.decode(content_type, body, default_label_size=1)
            sample.add(checked_rows(rows, width=asked.feature_dim))
        except ValueError as error:
            raise UsageError(f"train file {number}: {error}") from error
    try:
        return RandomCutForest.fit(
            sample.rows,
            num_trees=asked.num_trees,
            num_samples_per_tree=asked.num_samples_per_tree,
            seed=seed,
            training_rows=sample.seen,
        )
    except ValueError as error:
        raise UsageError(f"train channel: {error}") from error


class RowSample:
    """A uniform sample without replacement of a stream of rows, the same however the stream is cut into batches."""

    def __init__(self, size: int, rng: np.random.Generator) -> None:
        self.seen = 0
        self._size = size
        self._rng = rng
        # Each row draws a key; the rows with the smallest keys are the sample.
        self._keys: NDArray[np.float64] = np.empty(0)
        self._rows: list[NDArray[np.float32]] = []

    @property
    def rows(self) -> NDArray[np.float32]:
        """The sample, (at most size, features), in order of arrival."""
        return np.concatenate(self._rows) if self._rows else np.empty((0, 0), dtype=np.float32)

    def add(self, rows: NDArray[np.float32]) -> None:
        """Offer the next rows of the stream."""
        self.seen += len(rows)
        keys = np.concatenate((self._keys, self._rng.random(len(rows))))
        kept = np.concatenate((*self._rows, rows))
        if len(keys) > self._size:
            chosen = np.sort(np.argpartition(keys, self._size - 1)[: self._size])
            keys, kept = keys[chosen], kept[chosen]
        self._keys, self._rows = keys, [kept]
