"""Explaining an incident from what was stored of it, over in-memory tables that the detect use case filled."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from cli.explain_screen import show
from report.console import wide_console
from tests.unit.detection_fakes import METRICS, START_MS, STEP_MS, TICK, Store, distance_score, fleet, service, trained
from tests.unit.override_fakes import ENTRY
from tests.unit.short_history import SERVERS, TRAIN, trained_package, whole_history
from training.evaluate.calibrate import raised
from treeline.app.detect.origin import Origin
from treeline.app.detect.scoreblock import ScoreBlock
from treeline.app.explain.incident_source import Observed, ScoredPath
from treeline.app.explain.moment import explain_moment
from treeline.app.explain.service import BEFORE_MS, explain, resolve
from treeline.core.alert import AlertEvent, ExpectedBy, Priority
from treeline.core.detection.policy import PolicySettings
from treeline.core.errors import ModelMismatchError, ScorerUnavailableError, UsageError
from treeline.core.severity import P2_SEVERITY
from treeline.core.times import iso, parse_iso

FAULT_AT = 14
TEST = FAULT_AT + 16


class MemorySource:
    """A store seen as the source of an explanation; things may expire."""

    def __init__(self, store):
        self.store = store
        self.incidents = {}
        for alert in store.alerts:
            self.incidents.setdefault(alert.incident_id, []).append(alert)
        self.observed_from = 0
        self.without_origins = self.without_scores = self.without_forest = False
        self.score = distance_score
        self.overrides = {}

    def incident(self, incident_id):
        if incident_id not in self.incidents:
            raise UsageError(f"there is no incident {incident_id!r}")
        return self.incidents[incident_id]

    def incidents_of(self, server_id, start_ms, end_ms):
        opened = sorted((parse_iso(alerts[0].clocks.observed_at), name) for name, alerts in self.incidents.items()
                        if alerts[0].server_id == server_id)  # fmt: skip
        return [name for at, name in opened if start_ms <= at <= end_ms]

    def model_at(self, server_id, at_ms):
        return "m1" if any(server == server_id for server, _ in self.store.items) else None

    def missing(self, server_id):
        return "gone"

    def scored(self, server_id, start_ms, end_ms, *, model_version):
        blocks = [] if self.without_scores else self.store.blocks.values()
        path = ScoredPath.of([ScoreBlock.unpack(b.pack()) for b in blocks], server_id, start_ms, end_ms)
        return replace(path, origins=()) if self.without_origins else path

    def observations(self, server_id, start_ms, end_ms, metrics):
        first = max(start_ms, self.observed_from)
        keys = sorted(at for server, at in self.store.items if server == server_id and first <= at <= end_ms)
        values = [self.store.items[(server_id, at)][1] for at in keys]
        return Observed(np.array(keys, dtype=np.int64), np.array(values, np.float32).reshape(len(keys), len(metrics)))

    def package(self, model_version):
        if self.store.package is None:
            raise ModelMismatchError("gone")
        return self.store.package

    def scorer(self, model_version):
        if self.without_forest:
            raise ScorerUnavailableError("gone")
        return self.score, "memory"

    def override(self, id_):
        if self.overrides.get(id_) is None:
            raise ModelMismatchError(f"the override {id_} is gone")
        return self.overrides[id_]


@pytest.fixture(scope="module")
def whole():
    return whole_history()


@pytest.fixture(scope="module")
def package():
    return trained_package()


def stored(
    package, whole, moved, *, batch, fault_at=FAULT_AT, lasting=15, growing=0.0, override=lambda step: None, policy=None
):
    """A store after web-03's metrics `moved` (by name) for `lasting` minutes, and nothing else happened.

    Each minute adds the share `growing` of it. `override` gives the one that counts from a minute on.
    """
    values = whole.values[TRAIN:].copy()
    for name, by in moved.items():
        fault = values[fault_at : fault_at + lasting, min(3, len(whole.servers) - 1), METRICS.index(name)]
        fault += by * (1.0 + growing * np.arange(len(fault)))
    records = [
        (s, START_MS + (TRAIN + t) * STEP_MS, values[t, i])
        for t in range(fault_at + 16)
        for i, s in enumerate(whole.servers)
    ]
    store = Store(package)
    detect = service(store, policy=policy or PolicySettings())
    for start in range(0, len(records), batch):
        for record in records[start : start + batch]:
            store.add(*record)
        replace(detect, override=partial(override, start // len(whole.servers))).run(TICK)
    return store


@pytest.fixture(scope="module")
def overridden(package, whole):
    """An incident opened by the second of two anomalous minutes, between which an override was applied."""
    eager = replace(ENTRY, calibration=raised(package.calibration, p2=1.6, p1=3.1).to_json(),
                    policy={"needed": 1, "of_last": 1})  # fmt: skip
    store = stored(package, whole, {"memory_percent": 90.0}, batch=SERVERS,
                   override=lambda step: eager if step > FAULT_AT else None)  # fmt: skip
    source = MemorySource(store)
    source.overrides[eager.id] = eager
    return source


def test_an_incident_is_explained_and_made_again_by_the_override_that_decided_it(overridden, package):
    """One minute was decided by the model's own thresholds, the next one by the override's: both come out the same."""
    opening = overridden.incident("web-03/" + iso(START_MS + (TRAIN + FAULT_AT + 1) * STEP_MS))[0]
    found = explain(overridden, opening.incident_id, reproduce=True)
    assert found.notes == []
    assert found.reproduction.is_equal, found.reproduction
    assert "the opening" in {part.what for part in found.reproduction.parts}
    assert found.calibration["override"] == "o1"
    assert found.calibration["thresholds"] == overridden.overrides["o1"].calibration
    assert (found.persistence.needed, found.persistence.of_last) == (1, 1)
    own = explain(overridden, opening.incident_id).calibration
    assert own["thresholds"] != package.calibration.to_json()


def test_a_quiet_minute_is_explained_by_the_override_that_decided_it(overridden):
    quiet = explain_moment(overridden, "web-01", START_MS + (TRAIN + FAULT_AT + 2) * STEP_MS)
    assert quiet.notes == []
    assert (quiet.policy.needed, quiet.policy.of_last) == (1, 1)
    decided = overridden.overrides["o1"].calibration
    assert {c.name: (c.p2, c.p1) for c in quiet.channels} == {
        c.name: (decided[c.name]["p2"], decided[c.name]["p1"]) for c in quiet.channels
    }
    before = explain_moment(overridden, "web-01", START_MS + (TRAIN + FAULT_AT - 1) * STEP_MS)
    assert (before.policy.needed, before.policy.of_last) == (2, 3)


def test_without_the_override_that_decided_nothing_is_decided_again(overridden):
    """By the model's own thresholds it would be another decision."""
    source = MemorySource(overridden.store)
    found = explain(source, next(iter(source.incidents)), reproduce=True)
    assert found.counterfactuals == []
    assert any("the override o1 is gone" in note for note in found.notes)


def only(grid, server):
    """One server alone, of which one run of detect takes 800 observations."""
    return replace(grid, servers=(server,), values=grid.values[:, [grid.servers.index(server)]])


@pytest.fixture(scope="module", params=[SERVERS, 30 * SERVERS], ids=["steady", "backlog"])
def store(request, package, whole):
    return stored(package, whole, {"memory_percent": 90.0}, batch=request.param)


@pytest.fixture
def source(store):
    return MemorySource(store)


@pytest.fixture
def incident_id(store):
    assert {a.server_id for a in store.alerts} == {"web-03"}
    return store.alerts[0].incident_id


def test_every_metric_is_shown_with_what_was_expected_as_the_alert_had_it(source, incident_id):
    found = explain(source, incident_id)
    assert next(m.name for m in found.metrics) == "memory_percent"
    assert len(found.metrics) == len(METRICS)
    assert found.metrics[0] == found.opening.metrics[0]
    assert found.notes == []


def test_the_rule_that_fired_names_the_observations_that_counted(source, incident_id):
    rule = explain(source, incident_id).persistence
    assert (rule.needed, rule.of_last) == (2, 3)
    assert sum(counted for _, _, counted in rule.observations) == 2
    assert rule.observations[-1][0] == START_MS + (TRAIN + FAULT_AT + 1) * STEP_MS


def test_an_incident_that_one_observation_opened_says_that_several_metrics_agreed(package, whole, capsys):
    moved = {"cpu_percent": 80.0, "memory_percent": 80.0, "network_mbps": 900.0, "disk_iops": 900.0}
    policy = PolicySettings(alone_severity=6.0)
    source = MemorySource(stored(package, whole, moved, batch=SERVERS, policy=policy))
    opening = source.incident("web-03/" + iso(START_MS + (TRAIN + FAULT_AT) * STEP_MS))[0]
    assert opening.priority is Priority.P1
    rule = explain(source, opening.incident_id).persistence
    assert rule.is_alone
    assert (rule.priority, rule.needed, rule.of_last, rule.tier) == ("P1", 1, 1, 6.0)
    ((at, severity, counted),) = rule.observations
    assert (at, counted) == (START_MS + (TRAIN + FAULT_AT) * STEP_MS, True)
    assert severity >= rule.tier
    show(explain(source, opening.incident_id), wide_console())
    assert (
        "one observation is enough at severity >= 6 (P1) where 3 metrics or more lie 2 times" in capsys.readouterr().out
    )


def test_a_counterfactual_holds_when_the_observation_is_replaced_in_the_pipeline_itself(
    package, whole, incident_id, source
):
    """Not only by the explanation's own re-scoring: detect is run again with the other value."""
    [found] = [c for c in explain(source, incident_id).counterfactuals if c.bounds[0].name == "memory_percent"]
    assert found.is_verified
    bound = found.bounds[0]
    assert bound.is_at_most
    _, measured = bound.broken[-1]
    assert bound.expected < bound.value < measured
    assert "web-03 would not have paged if memory_percent had been <=" in str(found)
    for value, opens in ((bound.value, False), (measured + 9.0, True)):
        again = Store(package)
        deciding = START_MS + (TRAIN + FAULT_AT + 1) * STEP_MS
        for (server, at), (_, values) in source.store.items.items():
            if at <= deciding:
                changed = values.copy()
                if server == "web-03" and at >= deciding - STEP_MS:
                    changed[1] = min(changed[1], value)
                again.add(server, at, changed)
        service(again).run(TICK)
        assert bool(again.alerts) is opens


def test_a_counterfactual_names_the_observations_that_break_it(source, incident_id):
    found = explain(source, incident_id)
    assert found.prevention == ""
    [counterfactual] = [c for c in found.counterfactuals if c.bounds[0].name == "memory_percent"]
    first = START_MS + (TRAIN + FAULT_AT) * STEP_MS
    times = [first + i * STEP_MS for i in range(15)]  # the whole fault, not only what opened the incident
    broken = counterfactual.bounds[0].broken
    assert [at for at, _ in broken] == times
    assert counterfactual.until == times[-1] + STEP_MS
    assert counterfactual.changes_deciding
    assert all(measured == source.store.items[("web-03", at)][1][1] for at, measured in broken)
    most = max(measured for _, measured in broken)
    when = f"from {iso(times[0])[:19]}Z to {iso(times[-1])[:19]}Z (measured up to {most:.6g}, 15 observations)"
    assert when in str(counterfactual)


def cut(source, bounds):
    """What the pipeline pages about web-03, to the end of what is stored, had it broken no bound."""
    again = Store(source.store.package)
    for (server, at), (_, values) in source.store.items.items():
        changed = values.copy()
        for bound in bounds if server == "web-03" else ():
            if at in {broken for broken, _ in bound.broken}:
                limit = np.minimum if bound.is_at_most else np.maximum
                changed[METRICS.index(bound.name)] = limit(changed[METRICS.index(bound.name)], bound.value)
        again.add(server, at, changed)
    service(again).run(TICK)
    return [a for a in again.alerts if a.server_id == "web-03" and a.event is AlertEvent.OPENED]


GROWING = [
    {"memory_percent": 20.0, "network_mbps": 90.0},
    {"cpu_percent": 25.0, "memory_percent": 18.0},
    {"memory_percent": 16.0, "disk_iops": 16.0},
]


@pytest.mark.parametrize("moved", GROWING, ids=lambda moved: "-".join(moved))
def test_no_page_follows_in_the_incident_where_one_is_said_to_be_prevented_and_a_late_one_where_it_is_delayed(
    package, whole, moved
):
    """A fault that grows: what keeps the deciding observation down does not keep down the ones after it."""
    source = MemorySource(stored(package, whole, moved, batch=SERVERS, growing=0.15))
    found = explain(source, source.store.alerts[0].incident_id)
    assert found.counterfactuals
    for each in found.counterfactuals:
        opened = cut(source, each.bounds)
        if each.delay is None:
            assert opened == [], str(each)
            assert each.severity < P2_SEVERITY
        else:
            late = parse_iso(opened[0].clocks.observed_at) - each.deciding_at
            assert late == each.delay.by_ms > 0, str(each)


def test_one_odd_observation_opens_nothing_and_the_normal_one_after_it_says_that_it_was_one(package, whole):
    """Two of three means two that are anomalous themselves: coming back to normal is no second one."""
    store = stored(package, whole, {"memory_percent": 90.0}, batch=SERVERS, lasting=1)
    assert store.alerts == []
    found = explain_moment(MemorySource(store), "web-03", START_MS + (TRAIN + FAULT_AT + 1) * STEP_MS)
    assert found.notes == []
    assert "1 of the last 3 observations at or above P2, 2 are needed" in found.why


def test_a_fall_is_bounded_from_below(package, whole):
    """The side of a bound is that of the farthest observation."""
    store = stored(package, whole, {"memory_percent": -90.0}, batch=SERVERS, lasting=2)
    found = explain(MemorySource(store), store.alerts[0].incident_id)
    [bound] = [b for c in found.counterfactuals for b in c.bounds if b.name == "memory_percent"]
    assert not bound.is_at_most


def test_a_bound_is_a_short_number_close_to_where_it_tips(source, incident_id):
    bound = explain(source, incident_id).counterfactuals[0].bounds[0]
    assert len(f"{bound.value:.10g}") <= 6
    tipping = explain(source, incident_id).counterfactuals[0].severity
    assert 0.2 < tipping < 1.5


def test_metrics_that_only_together_prevent_it_are_named_together(package, whole):
    moved = dict.fromkeys(METRICS, 40.0)
    store = stored(package, whole, moved, batch=SERVERS)
    [found] = explain(MemorySource(store), store.alerts[0].incident_id).counterfactuals
    assert found.is_verified
    assert len(found.bounds) >= 2
    assert " and " in str(found)


def test_it_is_reproduced_from_training_on_bit_for_bit(source, incident_id):
    found = explain(source, incident_id, reproduce=True).reproduction
    assert found.is_equal
    assert [(p.what, p.count == p.equal) for p in found.parts] == [
        ("feature rows", True), ("scores", True), ("feature rows", True), ("scores", True), ("severities", True),
        ("the opening", True),
    ]  # fmt: skip
    assert found.parts[0].count == FAULT_AT + 2
    assert "model package" in found.parts[0].source


def test_a_commit_that_caught_up_on_more_than_is_shown_is_replayed_from_its_beginning(package):
    """As of `demo` on a history of a coarse step: the state kept with the incident is then older than its path."""
    late = BEFORE_MS // STEP_MS + 60
    whole = only(fleet(SERVERS, TRAIN + late + 16), "web-03")
    store = stored(package, whole, {"memory_percent": 90.0}, batch=10**6, fault_at=late)
    found = explain(MemorySource(store), store.alerts[0].incident_id, reproduce=True)
    assert found.notes == []
    assert found.reproduction.is_equal
    assert [p.count for p in found.reproduction.parts if "kept with the incident" in p.source] == [late + 2] * 3 + [1]
    assert found.counterfactuals
    assert int(found.path.observed_at[0]) == START_MS + (TRAIN + late + 1) * STEP_MS - BEFORE_MS


def test_a_server_that_warmed_up_in_the_commit_that_opened_its_incident_is_replayed_with_its_warm_up(package):
    """An observation that was not scored yet has moved the state on all the same."""
    whole = replace(only(fleet(SERVERS, TRAIN + 1516), "web-03"), servers=("new-01",))
    store = stored(package, whole, {"memory_percent": 90.0}, batch=10**6, fault_at=1500)
    found = explain(MemorySource(store), store.alerts[0].incident_id, reproduce=True)
    assert found.reproduction.is_equal


def test_after_older_observations_have_expired_it_is_rebuilt_from_the_state_kept_with_it(source, incident_id):
    is_backlog = len(source.store.blocks) == 1
    source.observed_from = START_MS + (TRAIN + FAULT_AT - 5) * STEP_MS
    found = explain(source, incident_id, reproduce=True)
    assert found.reproduction.is_equal
    assert "are still stored" in found.reproduction.notes[0]
    if is_backlog:  # the commit that opened it began at the end of training: its first observations are gone
        assert [p.source for p in found.reproduction.parts] == ["the stored feature rows, through the forest"]
        return
    assert {p.what for p in found.reproduction.parts} == {"feature rows", "scores", "severities", "the opening"}
    assert all("kept with the incident" in p.source for p in found.reproduction.parts)
    assert found.counterfactuals


def test_without_observations_the_stored_rows_are_scored_again_and_that_is_said(source, incident_id):
    source.observed_from = START_MS + 10**12
    found = explain(source, incident_id, reproduce=True)
    assert [p.source for p in found.reproduction.parts] == ["the stored feature rows, through the forest"]
    assert found.reproduction.is_equal
    assert any("expired" in note for note in found.notes)
    assert list(found.metrics) == found.opening.metrics


@pytest.mark.parametrize("gone", ["without_origins", "without_scores", "without_forest"])
def test_what_is_gone_is_said_and_the_rest_explained(source, incident_id, gone):
    setattr(source, gone, True)
    found = explain(source, incident_id, reproduce=True)
    assert found.notes
    assert found.counterfactuals == []
    assert list(found.metrics) == found.opening.metrics
    show(found, wide_console())


def test_a_forest_that_is_not_the_one_that_decided_is_found_out(source, incident_id):
    source.score = lambda rows: np.nextafter(distance_score(rows), np.inf)
    found = explain(source, incident_id, reproduce=True).reproduction
    assert not found.is_equal
    assert {p.what for p in found.parts if not p.is_equal} >= {"scores"}


def test_an_observation_that_was_changed_in_the_table_is_found_out(source, incident_id):
    key = ("web-03", START_MS + (TRAIN + FAULT_AT) * STEP_MS)
    kept = source.store.items[key]
    source.store.items[key] = (kept[0], kept[1] + np.float32(0.5))
    try:
        assert not explain(source, incident_id, reproduce=True).reproduction.is_equal
    finally:
        source.store.items[key] = kept


def test_the_beginning_of_an_id_is_enough_where_it_can_mean_one_incident(source, incident_id):
    assert resolve(source, "web-03") == incident_id
    assert resolve(source, incident_id[:-8]) == incident_id
    assert resolve(source, "web-0") == "web-0"
    assert resolve(source, "web-03/1999") == "web-03/1999"
    source.incidents["web-03/" + "9" * 24] = [
        replace(a, clocks=replace(a.clocks, observed_at=iso(START_MS))) for a in source.incidents[incident_id]
    ]
    assert resolve(source, "web-03") == "web-03"


def test_an_explanation_is_json_and_text(source, incident_id, capsys):
    found = explain(source, incident_id, reproduce=True)
    body = json.loads(json.dumps(found.to_json()))
    assert body["reproduction"]["equal"] is True
    assert body["counterfactuals"][0]["verified"] is True
    assert body["path"][-1]["severity"] is not None
    decided_by = body["calibration"]["channel"]
    assert decided_by in body["calibration"]["measures"]
    show(found, wide_console())
    text = capsys.readouterr().out
    assert "would not have paged if memory_percent" in text
    assert "equal, bit for bit" in text
    assert "2 of the last 3" in text
    assert "forest's score" in text
    assert f"decided by the channel {decided_by}: " in text
    assert f"  channel {decided_by}: measured " in text


def test_a_fleet_incident_says_that_no_server_s_metrics_opened_it(package, whole):
    store = Store(package)
    values = whole.values[TRAIN:].copy()
    values[FAULT_AT:] += 45.0
    for t in range(TEST):
        for i, server in enumerate(whole.servers):
            store.add(server, START_MS + (TRAIN + t) * STEP_MS, values[t, i])
    service(store, policy=PolicySettings(fleet_min_servers=5)).run(TICK)
    [fleet_incident] = {a.incident_id for a in store.alerts if a.event is AlertEvent.OPENED}
    found = explain(MemorySource(store), fleet_incident)
    assert "share" in found.notes[0]
    show(found, wide_console())


def test_an_origin_survives_its_packing(store):
    packed = next(block.origins["web-03"] for block in store.blocks.values() if "web-03" in block.origins)
    origin = Origin.unpack(packed)
    assert origin.pack() == packed
    assert origin.server_id == "web-03"
    with pytest.raises(ModelMismatchError):
        Origin.unpack(packed[:-9])
    with pytest.raises(ModelMismatchError):
        Origin.unpack(b"no")


def test_an_incident_that_a_rolling_window_decided_is_made_again(whole):
    """Through detection's own commits: the window is stored with each, and the origin has it."""
    past = replace(whole, times_ms=whole.times_ms[:TRAIN], values=whole.values[:TRAIN])
    store = stored(trained(past, rolling_window_s=3600.0), whole, {"memory_percent": 90.0}, batch=SERVERS)
    (opening,) = [alert for alert in store.alerts if alert.event is AlertEvent.OPENED]
    found = explain(MemorySource(store), opening.incident_id, reproduce=True)
    assert found.reproduction.is_equal, found.reproduction
    assert "the opening" in {part.what for part in found.reproduction.parts}
    assert {metric.expected_by for metric in opening.metrics} == {ExpectedBy.ROLLING_WINDOW}
    window = whole.values[TRAIN + FAULT_AT - 55 : TRAIN + FAULT_AT, 3].mean(axis=0)
    assert {m.name: m.expected for m in opening.metrics} == pytest.approx(
        dict(zip(METRICS, window.tolist(), strict=True)), abs=1.5
    )
    assert store.table_blocks == {}, "no season is stored"
