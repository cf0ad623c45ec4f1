"""The one file of ours that runs inside Model Monitor's analyzer knows the features by their names."""

from types import SimpleNamespace

from stacks.constructs.model_monitor_preprocessor import NAMES, preprocess_handler
from treeline.core.detection.features import FEATURE_NAMES


def test_it_has_the_features_names_in_their_order():
    assert NAMES == FEATURE_NAMES


def test_a_request_of_two_rows_becomes_two_named_records():
    body = "\n".join(",".join(str(float(i + row)) for i in range(len(NAMES))) for row in range(2))
    first, second = preprocess_handler(SimpleNamespace(endpoint_input=SimpleNamespace(data=body + "\n")))
    assert list(first) == list(NAMES)
    assert (first["value.max"], second["value.max"]) == (0.0, 1.0)
