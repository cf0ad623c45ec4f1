"""Runs inside Model Monitor's analyzer (Python 3.7): captured CSV rows become records with the features' names.

The names are those of core/detection/features; a test holds them together. Nothing of ours can be imported there.
"""

from typing import Any

VIEWS = ("value", "mean10", "difference")
SUMMARIES = ("max", "top3", "mean", "share_above_3")
NAMES = tuple("{}.{}".format(view, summary) for view in VIEWS for summary in SUMMARIES)  # noqa: UP032 -- as old as that


def preprocess_handler(inference_record: Any) -> Any:
    """One record a row of the request."""
    rows = inference_record.endpoint_input.data.strip().split("\n")
    return [dict(zip(NAMES, map(float, row.split(",")))) for row in rows]  # noqa: B905 -- no strict there yet
