"""What an operator types is refused where it cannot count, and says what to do."""

import json
from dataclasses import replace

import pytest

from cli.threshold_change import differences, leaves, merged, of_file
from cli.threshold_trial import of_trial, read_trial
from tests.unit.override_fakes import ENTRY, blind, blinding
from tests.unit.short_history import trained_package
from training.evaluate.tune import Scored, Trial
from treeline.core.errors import UsageError


@pytest.fixture(scope="module")
def package():
    return trained_package()


@pytest.fixture
def read(package, tmp_path):
    """Reads a file that holds this body, for the stage of the package."""

    def read(body):
        path = tmp_path / "wanted.json"
        path.write_text(body if isinstance(body, str) else json.dumps(body))
        return of_file(path, package, package.calibration)

    return read


def one_threshold(package):
    """A number among the package's thresholds: its dotted name, and a nested object that holds it alone."""
    name, value = next((n, v) for n, v in leaves(package.calibration.to_json()) if n.endswith(".p2"))
    body = value
    for part in reversed(name.split(".")):
        body = {part: body}
    return name, value, body


def test_a_file_of_calibrate_is_taken_as_package_and_as_json(read, package, tmp_path):
    solved = blind(package.calibration)
    (tmp_path / "solved.zip").write_bytes(replace(package, calibration=solved).to_bytes())
    assert of_file(tmp_path / "solved.zip", package, package.calibration).calibration == solved
    body = {"model_version": "m1", "budget": "1 P1", "server_days": 3.0, "calibration": solved.to_json(), "tiers": []}
    found = read(body)
    assert found.calibration == solved
    assert found.source == "file wanted.json, 1 P1"


def test_what_a_file_does_not_name_stays(package):
    name, value, body = one_threshold(package)
    wanted = json.loads(json.dumps(body).replace(repr(value), repr(value * 0.9)))
    before, after = (dict(leaves(c.to_json())) for c in (package.calibration, merged(package.calibration, wanted, "f")))
    assert after.pop(name) == pytest.approx(before.pop(name) * 0.9)
    assert after == before


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("{", "neither a model package nor JSON"),
        ([1], "expected an object"),
        ({"model_version": "m1"}, "nothing to change is named"),
        ({"treshold": 1}, "'treshold' is unknown"),
        ({"policy": {"needed": 3}}, "belong together"),
        ({"policy": {"needed": 5, "of_last": 3}}, "needed"),
        ({"policy": {"quiet_s": -1.0}}, "quiet_s"),
        ({"policy": {"fleet_min_servers": 3}}, "fleet_min_servers cannot be overridden"),
        ({"policy": []}, "policy must be an object"),
        ({"forest": {"num_trees": 49}}, "num_trees"),
        ({"forest": {"num_trees": 50.5}}, "num_trees"),
        ({"forest": {"seed": 3}}, "seed cannot be overridden"),
    ],
)
def test_what_cannot_count_is_refused_by_name(read, body, told):
    with pytest.raises(UsageError, match=told):
        read(body)


def test_the_limit_of_the_scores_is_the_forests_and_is_refused(package):
    same = package.calibration.to_json()
    assert merged(package.calibration, same, "f") == package.calibration
    with pytest.raises(UsageError, match="score_limit is the forest's own, 9, and cannot be changed"):
        merged(package.calibration, {"score_limit": 8.0}, "f")


@pytest.mark.parametrize("value", [0.0, -0.5, "wide"])
def test_a_decade_of_rarity_that_is_none_is_refused(package, value):
    with pytest.raises(UsageError, match=r"^f: "):
        merged(package.calibration, {"score": {"decade": value}}, "f")


@pytest.mark.parametrize("value", [-1.0, True, "high", None, [1.0], float("nan"), float("inf")])
def test_a_threshold_out_of_range_is_refused_by_name(package, value):
    _, old, body = one_threshold(package)
    wanted = json.loads(json.dumps(body).replace(repr(old), json.dumps(value)))
    with pytest.raises(UsageError, match=r"^f: "):
        merged(package.calibration, wanted, "f")


def test_an_unknown_channel_is_refused_with_those_there_are(package):
    with pytest.raises(UsageError, match=rf"there is no threshold daily\.p2; there are .*{one_threshold(package)[0]}"):
        merged(package.calibration, {"daily": {"p2": 3.0}}, "f")


def test_thresholds_of_another_model_are_refused_with_the_way_to_the_right_ones(read, package):
    body = {"model_version": "m0", "calibration": package.calibration.to_json()}
    with pytest.raises(UsageError, match=r"of model 'm0', and 'm1' decides here.*calibrate --data"):
        read(body)
    with pytest.raises(UsageError, match="add model_version"):
        read({"calibration": body["calibration"]})


def test_a_trial_of_another_expectation_is_refused(package, tmp_path):
    """A factor that was searched where a rolling window is expected says nothing of a model that expects by season."""
    scored = Scored(trial=Trial(), pages_per_server_week={"P1": 1.0, "P1+P2": 2.0}, adherence=0.5)
    assert of_trial(1, scored, tmp_path, package).calibration == package.calibration
    with pytest.raises(
        UsageError, match="trial 1 was searched with a rolling window of 3600 s, and model m1 has expect"
    ):
        of_trial(1, replace(scored, rolling_window_s=3600.0), tmp_path, package)


def test_the_difference_is_shown_value_by_value(package):
    new = blinding(package.calibration, policy={"needed": 3, "of_last": 5}, forest={"num_trees": 200})
    old = replace(ENTRY, policy={"needed": 3, "of_last": 3})
    found = {change.what: (change.old, change.new) for change in differences(old, new, package, package.calibration)}
    name, value, _ = one_threshold(package)
    assert found[name] == (value, dict(leaves(blind(package.calibration).to_json()))[name])
    assert found["policy.of_last"] == (3, 5)
    assert "policy.needed" not in found
    assert found["forest.num_trees"] == (None, 200)
    back = differences(new, old, package, blind(package.calibration))
    assert {c.what: c.new for c in back}["forest.num_trees"] is None


@pytest.fixture
def trials(tmp_path):
    pages = {"P1": 1.0, "P1+P2": 2.0}
    scored = [
        Scored(trial=Trial(num_trees=200, needed=3, of_last=5, threshold_factor=1.2), pages_per_server_week=pages,
               adherence=0.5, f05=0.8, f1=0.7),
        Scored(trial=Trial(), pages_per_server_week=pages, adherence=0.9, f05=0.9, f1=0.85),
    ]  # fmt: skip
    path = tmp_path / "trials.json"
    path.write_text(json.dumps([each.to_json() for each in scored]))
    return path, scored


def test_a_trial_is_found_by_its_number_or_as_the_best(trials):
    path, scored = trials
    assert read_trial(path, "1") == (1, scored[0])
    assert read_trial(path, "best") == (2, scored[1])
    for wrong in ("0", "3", "first", "-1"):
        with pytest.raises(UsageError, match="from 1 to 2"):
            read_trial(path, wrong)
    with pytest.raises(UsageError, match="cannot be read"):
        read_trial(path.with_name("none.json"), "best")
    path.write_text('[{"pages": 1}]')
    with pytest.raises(UsageError, match="is not what"):
        read_trial(path, "1")


def test_a_trial_sets_all_that_it_searched(trials, package, tmp_path):
    path, (scored, _) = trials
    wanted = of_trial(1, scored, path.parent, package)
    assert wanted.policy == {"needed": 3, "of_last": 5}
    assert wanted.forest == {"num_trees": 200, "num_samples_per_tree": 512}
    assert wanted.source == f"tune trial 1 of {tmp_path.name}, F0.5 0.80, F1 0.70"
    name, value, _ = one_threshold(package)
    assert dict(leaves(wanted.calibration.to_json()))[name] == pytest.approx(1.2 * value)
