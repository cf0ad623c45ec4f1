"""The plain rolling z-score as an expectation: held against its own definition, and what it does where data are bad."""

import io
import json
import zipfile
import zlib
from dataclasses import replace

import numpy as np
import pytest

from tests.unit.core.fleets import START_MS, STEP_MS, STEP_S, Run, ready_state
from tests.unit.detection_fakes import METRICS, fleet, trained
from training.history.grid import Grid
from training.prepare.preparation import prepare
from treeline.core.alert import ExpectedBy
from treeline.core.arrays import Home
from treeline.core.detection import detector
from treeline.core.detection.evidence import Bands, metric_evidence
from treeline.core.detection.policy import OPEN_P2
from treeline.core.errors import UsageError
from treeline.core.expectation import expectation, rolling, season
from treeline.core.expectation.expectation import DAY_FLOOR, Basis
from treeline.core.expectation.rolling_limits import MOST_METRICS_IN_TWELVE, PARTS, PARTS_OF_MANY_METRICS, parts_for
from treeline.core.model.package import ModelPackage
from treeline.core.state.fleet import FleetState
from treeline.core.state.layout import NEVER, todays_layout
from treeline.core.wording import moved

WINDOW_S = 3600.0
PART_STEPS = int(WINDOW_S / PARTS / STEP_S)
WINDOW_STEPS = PARTS * PART_STEPS
HERE, ROW = slice(0, 1), np.array([0])
OF_TRAINING = (  # what no round of detection changes, each a number of its own a series
    *("base_mean", "base_spread", "residual_scale", "band_sd", "relation_floor", "relation_sd"),
    *("tail_start", "tail_scale", "mean10_floor", "change_floor", "habit"),
)


every_number_of_parts = pytest.mark.parametrize("parts", [PARTS, PARTS_OF_MANY_METRICS])


def windowed(servers: int = 1, metrics: int = 2, *, parts: int = PARTS) -> FleetState:
    return ready_state(servers, metrics, rolling_window_s=WINDOW_S, rolling_parts=parts)


def now(state: FleetState, *, elapsed_s: float = STEP_S) -> expectation.Expected:
    return expectation.expected(
        state, ROW, HERE, np.array([START_MS]), step_s=STEP_S, elapsed_s=np.array([elapsed_s], np.float32)
    )


def learn(state: FleetState, value: object, *, elapsed_s: float = STEP_S, aged_s: float = STEP_S) -> None:
    values = np.broadcast_to(np.asarray(value, np.float32), (1, state.metrics))
    expectation.learn(state, HERE, values, now(state, elapsed_s=elapsed_s), np.array([aged_s], np.float32))


def noise(steps: int, metrics: int = 2, *, level: float = 2.0) -> np.ndarray:
    rng = np.random.default_rng(3)
    return np.clip(rng.normal(level, 0.7, (steps, metrics)), level - 2, level + 2).astype(np.float32)


def by_definition(values: np.ndarray, parts: int = PARTS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and standard deviation before each value, over the parts that the window has, and how many they are of."""
    mean, sd, count = (np.full(values.shape, np.nan) for _ in range(3))
    part = (np.arange(len(values)) + 1) // (WINDOW_STEPS // parts)
    for i in range(1, len(values)):
        before = values[:i][part[:i] > part[i - 1] - parts].astype(np.float64)
        count[i] = (~np.isnan(before)).sum(axis=0)
        known = count[i] > 0
        mean[i, known], sd[i, known] = np.nanmean(before[:, known], axis=0), np.nanstd(before[:, known], axis=0)
    return mean, sd, count


@every_number_of_parts
@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_it_is_the_rolling_z_score_of_the_textbook(missing: float, parts: int):
    values = noise(4 * WINDOW_STEPS)
    values[np.random.default_rng(4).random(values.shape) < missing] = np.nan
    mean, sd, count = by_definition(values, parts)
    state = windowed(parts=parts)
    for i, value in enumerate(values):
        found = now(state)
        enough = count[i] >= rolling.FEWEST
        assert (found.basis[0] == np.where(enough, Basis.ROLLING, Basis.DAY)).all(), i
        np.testing.assert_allclose(found.value[0, enough], mean[i, enough], atol=2e-3)
        np.testing.assert_allclose(found.sd[0, enough], sd[i, enough], rtol=2e-3)
        learn(state, value)
    assert (count[-1] > WINDOW_STEPS * (1 - missing) * 0.8).all()


@every_number_of_parts
def test_it_reaches_back_by_the_window_and_no_further(parts: int):
    _, _, count = by_definition(noise(4 * WINDOW_STEPS), parts)
    assert np.nanmax(count) == WINDOW_STEPS
    assert count[WINDOW_STEPS:].min() == WINDOW_STEPS - WINDOW_STEPS // parts + 1
    state = windowed(parts=parts)
    for value in [np.full(2, 1.5)] * WINDOW_STEPS + [np.full(2, 1.0)] * WINDOW_STEPS:
        learn(state, value)
    assert now(state).value == pytest.approx(np.ones((1, 2))), "nothing of the level before is left"


def test_a_window_of_equal_values_is_no_narrower_than_a_tenth_of_trainings_spread():
    state = windowed()
    for _ in range(WINDOW_STEPS):
        learn(state, 1.0)
    assert now(state).sd == pytest.approx(np.full((1, 2), DAY_FLOOR))


def test_where_there_are_too_few_values_the_trailing_day_stands_in():
    state = windowed()
    state.trailing_mean[:], state.trailing_var[:] = 3.0, 4.0
    for value in noise(WINDOW_STEPS):
        learn(state, [value[0], np.nan])
    found = now(state)
    assert found.basis.tolist() == [[Basis.ROLLING, Basis.DAY]]
    assert (found.value[0, 1], found.sd[0, 1]) == (3.0, 2.0)
    assert found.value[0, 0] == pytest.approx(2.0, abs=0.4)


@every_number_of_parts
def test_a_gap_of_the_windows_length_empties_it(parts: int):
    state = windowed(parts=parts)
    for value in noise(WINDOW_STEPS):
        learn(state, value)
    assert (now(state, elapsed_s=WINDOW_S - STEP_S).basis == Basis.ROLLING).all()
    assert (now(state, elapsed_s=WINDOW_S).basis == Basis.DAY).all()
    learn(state, 2.0, elapsed_s=10 * WINDOW_S)
    assert state.rolling_count.sum() + state.gathered_count.sum() == state.metrics, "the value after it alone"


def test_a_gap_takes_out_what_is_older_than_the_window():
    state, values = windowed(), noise(WINDOW_STEPS)
    for value in values:
        learn(state, value)
    gap = WINDOW_STEPS // 2
    learn(state, 2.0, elapsed_s=gap * STEP_S)
    left = values[WINDOW_STEPS - gap + PART_STEPS - 1 :]
    assert now(state).value[0] == pytest.approx((left.sum(axis=0) + 2.0) / (len(left) + 1), abs=2e-2)
    assert int((state.rolling_count.sum(axis=1) + state.gathered_count)[0, 0]) == len(left) + 1


def test_one_absurd_value_at_most_doubles_the_variance():
    state = windowed()
    for value in noise(WINDOW_STEPS):
        learn(state, value)
    before = now(state)
    learn(state, expectation.LARGEST)
    after = now(state)
    assert ((after.sd / before.sd) ** 2 < 2.1).all()
    assert (np.abs(after.value - before.value) < 0.2 * before.sd).all()


def test_it_follows_a_level_that_moved_for_good():
    state = windowed()
    for value in [*noise(WINDOW_STEPS), *(10.0 + noise(2 * WINDOW_STEPS))]:
        learn(state, value)
    assert now(state).value == pytest.approx(np.full((1, 2), 12.0), abs=0.5)


@pytest.mark.parametrize(("hours", "is_learned"), [(2, False), (25, True)])
def test_an_open_incident_is_not_learned_for_a_day(hours: int, is_learned: bool):
    run = Run(windowed(metrics=4))
    run.series(np.random.default_rng(5).normal(50, 1, (WINDOW_STEPS, 4)))
    at = START_MS + WINDOW_STEPS * STEP_MS
    run.state.incident[:], run.state.opened_at[:] = OPEN_P2, at - hours * 3_600_000
    before = {name: getattr(run.state, name).copy() for name in rolling.NAMES}
    run.series(np.full((WINDOW_STEPS, 4), 90.0), start=at)
    changed = [name for name in rolling.NAMES if not np.array_equal(before[name], getattr(run.state, name))]
    assert ({"rolling_mean", "rolling_place"} <= set(changed)) == is_learned
    assert bool(changed) == is_learned


def test_no_season_is_learned_and_no_block_of_the_table_is_read():
    run = Run(windowed(metrics=4))
    run.series(np.full((WINDOW_STEPS, 4), 50.0))
    assert (run.state.slot == NEVER).all()
    assert np.isnan(run.state.season_level).all()
    assert season.blocks_turned(run.state, ROW, np.array([7])) == set()
    assert season.blocks_turned(ready_state(1), ROW, np.array([7])), "as they are without a window"


def history(steps: int, *, first: int = 0) -> Grid:
    whole = fleet(3, 900)
    chosen = slice(first, steps)
    return Grid(whole.times_ms[chosen], whole.servers, METRICS, whole.values[chosen], STEP_S)


def own_units(state: FleetState) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the windows in the metrics' own units, whatever the baseline."""
    mean, sd, is_known = rolling.moments(state, slice(None), np.zeros(len(state.servers)))
    assert is_known.all()
    return state.base_mean + state.base_spread * mean, state.base_spread * sd


def test_what_detection_goes_on_with_is_what_training_would_have_come_to():
    then, later = 600, 900
    state = prepare(history(then), seed=1, rolling_window_s=WINDOW_S).state
    for t, values in enumerate(history(later, first=then).values):
        at = START_MS + (then + t) * STEP_MS
        rows = np.arange(3)
        batch = detector.Round(at // STEP_MS, rows, rows, np.full(3, at), values)
        detector.learn(state, detector.prepare(state, batch, step_s=STEP_S))
    live, trained_later = own_units(state), own_units(prepare(history(later), seed=1, rolling_window_s=WINDOW_S).state)
    np.testing.assert_allclose(live[0], trained_later[0], atol=0.05)
    np.testing.assert_allclose(live[1], trained_later[1], rtol=0.02)
    values = history(later).values[-WINDOW_STEPS:]
    np.testing.assert_allclose(live[0], values.mean(axis=0), atol=0.3)


def test_the_package_says_it_to_detection():
    package = trained(history(600), rolling_window_s=WINDOW_S)
    assert package.rolling_window_s == package.new_state().rolling_window_s == WINDOW_S
    state = package.new_state()
    package.admit(state, ["web-00", "a new one"])
    assert state.rolling_count[0].any()
    back = FleetState.unpack(state.pack(Home.STATE))
    assert back.rolling_window_s == WINDOW_S
    for name in rolling.NAMES:
        np.testing.assert_array_equal(getattr(back, name), getattr(state, name))
    assert (package.seeds.residual_scale < 1.5).all()
    assert (package.seeds.basis == Basis.DAY).all(), "nothing was chosen"


def wide(steps: int) -> Grid:
    """As `history`, of 32 metrics: more than have twelve parts."""
    grid = history(steps)
    metrics = tuple(f"{name}_{i}" for i in range(8) for name in METRICS)
    return Grid(grid.times_ms, grid.servers, metrics, np.tile(grid.values, 8), STEP_S)


def test_of_many_metrics_the_window_has_fewer_parts_wherever_the_model_goes():
    package = trained(wide(300), rolling_window_s=WINDOW_S)
    state = package.new_state()
    package.admit(state, ["web-00"])
    assert state.rolling_count.shape == (1, PARTS_OF_MANY_METRICS - 1, 32)
    assert state.rolling_count.any()
    back = FleetState.unpack(state.pack(Home.STATE))
    np.testing.assert_array_equal(back.rolling_mean, state.rolling_mean)


def test_a_wide_model_of_before_keeps_its_twelve_parts():
    """Neither its package nor its states are to be read as if they had fewer."""
    package = trained(wide(300), rolling_window_s=WINDOW_S)
    seeds = ready_state(2, 32, rolling_window_s=WINDOW_S, rolling_parts=PARTS)
    seeds.rolling_mean[:] = np.arange(PARTS - 1)[:, None]
    before = without_parts(replace(package, seeds=seeds).to_bytes())
    opened = ModelPackage.from_bytes(before)
    np.testing.assert_array_equal(opened.seeds.rolling_mean, seeds.rolling_mean)
    np.testing.assert_array_equal(FleetState.unpack(seeds.pack()).rolling_mean, seeds.rolling_mean)


def without_parts(package: bytes) -> bytes:
    """A package as it was written when all windows had twelve parts: its manifest does not name them."""
    source, target = zipfile.ZipFile(io.BytesIO(package)), io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name in source.namelist():
            data = source.read(name)
            if name == "manifest.json":
                manifest = json.loads(data)
                assert manifest.pop("rolling_parts") == PARTS
                data = json.dumps(manifest).encode()
            archive.writestr(name, data)
    return target.getvalue()


def test_whoever_does_not_choose_it_stores_nothing_of_it():
    package = trained(history(600))
    assert package.rolling_window_s == 0.0
    assert not set(rolling.NAMES) & set(package.new_state().arrays())
    assert b"rolling" not in package.new_state().pack()


@pytest.mark.parametrize(("metrics", "bytes_a_series"), [(4, 76), (38, 40)])
def test_it_is_of_one_size_whatever_the_window_and_the_step_are(metrics: int, bytes_a_series: int):
    """What the decision page says of 50 servers, before compression."""
    sizes = {
        sum(getattr(state, name).nbytes for name in rolling.NAMES)
        for window_s in (60.0, 604_800.0)
        for state in [ready_state(50, metrics, rolling_window_s=window_s, rolling_parts=parts_for(metrics))]
    }
    assert sizes == {50 * (metrics * bytes_a_series + 5)}


def wild(metrics: int) -> FleetState:
    """Fifty servers, each metric of each a noise of its own with far outliers and a fifth of its values missing."""
    state = ready_state(50, metrics, rolling_window_s=WINDOW_S, rolling_parts=parts_for(metrics))
    rng = np.random.default_rng(7)
    for name in OF_TRAINING:
        array = getattr(state, name)
        array[...] = rng.uniform(0.5, 2.0, array.shape)
    state.base_mean[:], state.base_spread[:] = rng.uniform(5, 90, (50, metrics)), rng.uniform(0.3, 9, (50, metrics))
    state.relation[:] = np.eye(metrics) + rng.normal(0, 0.1, state.relation.shape)
    rows = np.arange(50)
    for t in range(2 * WINDOW_STEPS + PART_STEPS - 1):  # the part that gathers now is as full as it can be
        values = state.base_mean + state.base_spread * rng.standard_t(2, (50, metrics))
        values = np.where(rng.random(values.shape) < 0.2, np.nan, values).astype(np.float32)
        at = np.full(50, START_MS + t * STEP_MS)
        batch = detector.Round(int(at[0]) // STEP_MS, rows, rows, at, values)
        detector.learn(state, detector.prepare(state, batch, step_s=STEP_S))
    return state


@pytest.mark.parametrize("metrics", [MOST_METRICS_IN_TWELVE, 38])
def test_the_item_of_a_full_group_stays_below_300_kb_on_the_wildest_noise(metrics: int):
    state = wild(metrics)
    for name in (*OF_TRAINING, "recent", "relation_recent", "rolling_mean", "rolling_square", "gathered_mean"):
        assert len(np.unique(getattr(state, name))) > 1000, f"{name} would compress to nothing"
    rng = np.random.default_rng(8)  # an observation a second for a week: no two counts alike
    state.rolling_count[:] = rng.normal(25_000, 150, state.rolling_count.shape)
    state.gathered_count[:] = rng.integers(0, 50_000, state.gathered_count.shape)
    state.gathered_square[:] = rng.normal(1.0, 0.2, state.gathered_square.shape)
    assert 250_000 < len(zlib.compress(state.pack(Home.STATE), 1)) < 300_000


def test_it_is_what_pages_show():
    package = trained(history(600), rolling_window_s=WINDOW_S)
    state = package.new_state()
    package.admit(state, ["web-00"])
    values = history(601, first=600).values[0, :1]
    at = START_MS + 600 * STEP_MS
    done = detector.prepare(state, detector.Round(at // STEP_MS, ROW, ROW, np.array([at]), values), step_s=STEP_S)
    evidence = metric_evidence(METRICS, values[0], Bands.of(state, ROW, done.features).at(0), {})
    assert {metric.expected_by for metric in evidence} == {ExpectedBy.ROLLING_WINDOW}
    past = history(600).values[-WINDOW_STEPS + PART_STEPS - 1 :, 0]
    expected = {metric.name: metric.expected for metric in evidence}
    assert [expected[name] for name in METRICS] == pytest.approx(past.mean(axis=0), abs=0.3)
    assert moved(evidence[0]).endswith("going by the rolling window")


def test_a_server_that_was_not_in_training_goes_by_its_trailing_day_first():
    package = trained(history(600), rolling_window_s=WINDOW_S)
    state = package.new_state()
    package.admit(state, ["a new one"])
    run = Run(state, calibration=package.calibration)
    values = np.random.default_rng(6).normal(50, 1, (1440 + WINDOW_STEPS, 4))
    run.series(values[:1440])
    assert now(state).basis.tolist() == [[Basis.DAY] * 4]
    run.series(values[1440:], start=START_MS + 1440 * STEP_MS)
    assert now(state).basis.tolist() == [[Basis.ROLLING] * 4]


def test_a_window_of_less_than_a_step_a_part_is_refused():
    with pytest.raises(UsageError, match=r"must be at least 720, 12 steps of 60 s, got 600: set detection.rolling_wi"):
        prepare(history(600), seed=1, rolling_window_s=600.0)
    assert prepare(history(600), seed=1, rolling_window_s=720.0).state.rolling_window_s == 720.0


def test_an_older_states_layout_has_no_window():
    body = todays_layout().to_json()
    assert "rolling_window_s" not in body
    assert type(todays_layout()).from_json(body).rolling_window_s == 0.0
