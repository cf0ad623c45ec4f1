"""Runs inside Model Monitor's analyzer (Python 3.7): captured CSV rows become records with the features' names.

The names are those of core/detection/features; a test holds them together. Nothing of ours can be imported there, and
an environment variable holds 256 characters: `model_monitor.preprocessor` writes the profile's metrics into the file.
"""

from typing import Any

METRICS: Any = ()  # in the order of the model
NAMES = tuple("{}.{}".format(metric, part) for part in ("relation", "level") for metric in METRICS)  # noqa: UP032


def preprocess_handler(inference_record: Any) -> Any:
    """One record a row of the request."""
    rows = inference_record.endpoint_input.data.strip().split("\n")
    return [dict(zip(NAMES, map(float, row.split(",")))) for row in rows]  # noqa: B905 -- no strict there yet
