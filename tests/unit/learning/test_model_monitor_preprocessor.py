"""The one file of ours that runs inside Model Monitor's analyzer knows the features by their names."""

from types import SimpleNamespace

from stacks.constructs.model_monitor import preprocessor_of
from treeline.core.detection.features import feature_names

METRICS = ("cpu_percent", "disk_iops", "memory_percent")


def script() -> SimpleNamespace:
    """The file as it is uploaded for a profile, run."""
    names: dict[str, object] = {}
    exec(compile(preprocessor_of(METRICS), "preprocessor.py", "exec"), names)  # noqa: S102 -- our own file
    return SimpleNamespace(**names)


def test_it_has_the_features_names_in_their_order():
    assert feature_names(METRICS) == script().NAMES


def test_a_request_of_two_rows_becomes_two_named_records():
    body = "\n".join(",".join(str(float(i + row)) for i in range(6)) for row in range(2))
    capture = SimpleNamespace(endpoint_input=SimpleNamespace(data=body + "\n"))
    first, second = script().preprocess_handler(capture)
    assert list(first) == list(feature_names(METRICS))
    assert (first["cpu_percent.relation"], second["memory_percent.level"]) == (0.0, 6.0)
