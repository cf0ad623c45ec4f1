"""Point-wise measures of a ranking: how much of what scored highest lay inside a label.

They judge the severity itself, before any threshold; the incident protocol of `evaluate.judge` judges the pages.
"""

import importlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.history.labels import Label

VUS_WINDOW = 100  # observations; the buffer that TSB-AD's own benchmark uses where a series has no period
VUS_MISSING = "VUS-PR needs the package TSB-AD (or vus), which is not installed"

Floats = NDArray[np.floating]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointwise:
    """AUC-PR over all points together and by server, VUS-PR as the mean over servers with a label.

    Attributes:
        auc_pr: None without a labelled point.
        positives: Share of labelled points, what a random order would reach.
        by_server: AUC-PR of each server that has a labelled point.
        vus_pr: None where no library is installed or nothing is labelled; `note` says which.
        note: Why a figure is missing, empty if none is.
    """

    auc_pr: float | None
    positives: float | None
    by_server: dict[str, float]
    vus_pr: float | None = None
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def average_precision(inside: NDArray[np.bool_], scores: Floats) -> float | None:
    """Area under the precision-recall curve by steps (no interpolation); equal scores count as one step.

    Args:
        inside: Whether each point is labelled, shape (n,).
        scores: Larger is stranger, finite, shape (n,).
    """
    positives = int(inside.sum())
    if positives == 0:
        return None
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(inside[order])
    last_of_equals = np.flatnonzero(np.append(np.diff(ranked) != 0, True))
    found = hits[last_of_equals]
    precision = found / (last_of_equals + 1)
    return float(np.sum(np.diff(found, prepend=0) * precision) / positives)


def inside_labels(times_ms: NDArray[np.int64], labels: Iterable[Label]) -> NDArray[np.bool_]:
    """Which times lie inside any of the labels, borders included."""
    inside = np.zeros(len(times_ms), dtype=bool)
    for label in labels:
        inside[np.searchsorted(times_ms, label.start_ms) : np.searchsorted(times_ms, label.end_ms, side="right")] = True
    return inside


def judge_points(
    times_ms: NDArray[np.int64], servers: Sequence[str], severity: Floats, labels: Iterable[Label]
) -> Pointwise:
    """Judge a trace; points without a severity (absent, warming up) are left out.

    Args:
        times_ms: Increasing, shape (times,).
        servers: Names of the columns.
        severity: Shape (times, servers), NaN where there is none.
        labels: Of any of the servers.
    """
    by_name: dict[str, list[Label]] = {}
    for label in labels:
        by_name.setdefault(label.server_id, []).append(label)
    vus = vus_library()
    by_server, vus_values = {}, []
    everything: list[tuple[NDArray[np.bool_], Floats]] = []
    for column, server in enumerate(servers):
        known = np.isfinite(severity[:, column])
        own = severity[known, column]
        inside = inside_labels(times_ms[known], by_name.get(server, ()))
        everything.append((inside, own))
        area = average_precision(inside, own)
        if area is not None:
            by_server[server] = area
            if vus is not None:
                vus_values.append(vus(inside, own))
    inside = np.concatenate([part for part, _ in everything]) if everything else np.zeros(0, dtype=bool)
    scores = np.concatenate([part for _, part in everything]) if everything else np.zeros(0)
    auc = average_precision(inside, scores)
    note = "" if auc is not None else "no labelled point"
    return Pointwise(
        auc_pr=auc,
        positives=float(inside.mean()) if len(inside) else None,
        by_server=by_server,
        vus_pr=float(np.mean(vus_values)) if vus_values else None,
        note=note or ("" if vus is not None else VUS_MISSING),
    )


def vus_library() -> Callable[[NDArray[np.bool_], Floats], float] | None:
    """VUS-PR of one series by whichever of its authors' packages is installed; None without."""
    for module, compute in (("TSB_AD.evaluation.basic_metrics", _by_tsb_ad), ("vus.metrics", _by_vus)):
        try:
            loaded = importlib.import_module(module)
        except ModuleNotFoundError:
            continue
        return partial(compute, loaded)
    return None


def _by_tsb_ad(module: Any, inside: NDArray[np.bool_], scores: Floats) -> float:
    *_, vus_pr = module.generate_curve(inside.astype(int), scores.astype(np.float64), VUS_WINDOW, "opt", 250)
    return float(vus_pr)


def _by_vus(module: Any, inside: NDArray[np.bool_], scores: Floats) -> float:
    found = module.get_metrics(scores.astype(np.float64), inside.astype(int), metric="vus", slidingWindow=VUS_WINDOW)
    return float(found["VUS_PR"])
