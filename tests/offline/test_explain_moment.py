"""Explaining what did not page: a server at a time, from what was stored of it."""

import json
import os

import numpy as np
import pytest

from cli.deployment import DeploymentError
from cli.explain_screen import show_moment
from cli.main import run
from demo.incident_files import save
from report.console import wide_console
from tests.offline.test_explain import FAULT_AT, MemorySource, only, stored
from tests.unit.detection_fakes import METRICS, START_MS, STEP_MS, TICK, Store, fleet, service
from tests.unit.short_history import SERVERS, TRAIN, trained_package, whole_history
from treeline.app.detect.scoreblock import Status
from treeline.app.explain.moment import QuietMoment, explain_moment
from treeline.app.explain.service import Explanation
from treeline.app.explain.wanting import DECLARED
from treeline.core.channels import registry
from treeline.core.detection.policy import PolicySettings
from treeline.core.errors import UsageError
from treeline.core.profile import Metric
from treeline.core.times import iso

DECIDING = START_MS + (TRAIN + FAULT_AT + 1) * STEP_MS
QUIET = START_MS + (TRAIN + FAULT_AT - 4) * STEP_MS


@pytest.fixture(scope="module")
def package():
    return trained_package()


@pytest.fixture
def store(package):
    return stored(package, whole_history(), {"memory_percent": 90.0}, batch=SERVERS)


@pytest.fixture
def source(store):
    return MemorySource(store)


def test_a_quiet_observation_is_below_p2_and_says_by_how_much(source):
    found = explain_moment(source, "web-03", QUIET)
    assert isinstance(found, QuietMoment)
    scored = source.store.scored()["web-03", QUIET]
    assert (found.observed_at, found.status, found.score) == (QUIET, Status.SCORED, scored[1])
    assert found.severity == pytest.approx(scored[2])
    assert found.why[0].startswith(f"below P2 by {1.5 - found.severity:.2f}")
    assert "0 of the last 3 observations at or above P2, 2 are needed" in found.why
    assert [at for at, _ in found.last] == [QUIET - 2 * STEP_MS, QUIET - STEP_MS, QUIET]
    assert found.notes == []


def test_the_channels_stand_beside_their_thresholds_and_give_the_severity(source, package):
    found = explain_moment(source, "web-03", QUIET)
    assert {c.name for c in found.channels} == {channel.name for channel in registry.every_channel()}
    severities = [
        float(package.calibration[c.name].severity(np.array(c.measure))) for c in found.channels if not c.is_gated
    ]
    assert max(severities) - found.shared == pytest.approx(found.severity, abs=1e-5)
    assert all(c.measure < c.p2 < c.p1 for c in found.channels)
    near = [c.measure / c.p2 for c in found.channels]
    assert near == sorted(near, reverse=True)
    assert near[0] > near[-1]


def test_the_metrics_stand_beside_their_bands(source):
    found = explain_moment(source, "web-03", QUIET)
    measured = source.store.items["web-03", QUIET][1]
    assert {m.name: m.measured for m in found.metrics} == pytest.approx(
        dict(zip(METRICS, measured.tolist(), strict=True))
    )
    assert all(m.low < m.measured < m.high for m in found.metrics)


def test_one_observation_above_p2_is_one_too_few(source):
    """The one before the deciding one: its severity was reached, its persistence was not."""
    found = explain_moment(source, "web-03", DECIDING - STEP_MS)
    assert found.severity > 1.5
    assert found.why == (
        [
            "1 of the last 3 observations at or above P2, 2 are needed",
            f"its incident web-03/{iso(DECIDING)} opened soon after",
        ]
    )
    [moved] = [each for each in found.wanting if each.name == "memory_percent"]
    assert [at for at, _ in moved.at] == [DECIDING - 2 * STEP_MS, DECIDING - STEP_MS]


@pytest.mark.parametrize("metric", ["network_mbps", "disk_iops"])
def test_what_would_have_paged_does_so_in_the_pipeline_itself(package, source, metric):
    found = explain_moment(source, "web-03", QUIET)
    [bound] = [each for each in found.wanting if each.name == metric]
    column, beyond = METRICS.index(metric), np.maximum if bound.is_at_least else np.minimum
    sign = 1.0 if bound.is_at_least else -1.0
    for value, opens in ((bound.value, True), (bound.value - sign * 0.02 * abs(bound.value - bound.at[-1][1]), False)):
        again = Store(package)
        for (server, at), (_, values) in source.store.items.items():
            if at <= QUIET:
                changed = values.copy()
                if server == "web-03" and at >= QUIET - STEP_MS:
                    changed[column] = beyond(changed[column], value)
                again.add(server, at, changed)
        service(again).run(TICK)
        assert bool(again.alerts) is opens


def limit(monkeypatch, name, minimum, maximum):
    monkeypatch.setitem(DECLARED, name, Metric(name=name, unit=DECLARED[name].unit, minimum=minimum, maximum=maximum))


def test_no_metric_is_wanted_beyond_what_it_can_be(source, monkeypatch):
    def network():
        return [each for each in explain_moment(source, "web-03", QUIET).wanting if each.name == "network_mbps"]

    [bound] = network()
    nearest, farthest = sorted((measured for _, measured in bound.at), key=lambda m: abs(m - bound.value))
    limit(monkeypatch, "network_mbps", min(nearest, farthest) - 1.0, max(nearest, farthest) + 1.0)
    assert network() == []


def test_a_metric_that_no_possible_value_of_would_have_paged_is_said(package, source, monkeypatch, capsys):
    [bound] = [each for each in explain_moment(source, "web-03", QUIET).wanting if each.name == "network_mbps"]
    maximum = 1.0 + max(measured for _, measured in bound.at)
    limit(monkeypatch, "network_mbps", maximum - 5.0, maximum)
    found = explain_moment(source, "web-03", QUIET)
    [said] = [each for each in found.out_of_reach if each.name == "network_mbps"]
    assert str(said) == f"no network_mbps up to {maximum:g} Mbit/s would have paged"
    sign = ">=" if bound.is_at_least else "<="
    assert str(bound).startswith(f"network_mbps {sign} {bound.value:.6g} Mbit/s at ")
    assert said.to_json() in found.to_json()["out_of_reach"]
    assert all(each.name != "network_mbps" for each in found.wanting)
    show_moment(found, wide_console())
    assert str(said) in capsys.readouterr().out


def test_what_pages_by_itself_is_not_said_to_be_out_of_reach(source, monkeypatch):
    """As where only the time after the incident before held it back."""
    monkeypatch.setattr(source, "incidents_of", lambda *given: [])
    found = explain_moment(source, "web-03", DECIDING)
    assert (found.wanting, found.out_of_reach) == ([], [])


def test_where_no_metric_alone_would_have_paged_that_is_said(source, monkeypatch, capsys):
    measured = source.store.items["web-03", QUIET][1].tolist()
    for name, value in zip(METRICS, measured, strict=True):
        limit(monkeypatch, name, value - 1e-3, value + 1e-3)
    found = explain_moment(source, "web-03", QUIET)
    assert found.wanting == []
    show_moment(found, wide_console())
    assert "no metric alone would have paged, up to 40 sd" in capsys.readouterr().out


def test_where_an_incident_was_open_it_is_explained(source, store):
    for at in (DECIDING, DECIDING + 5 * STEP_MS):
        found = explain_moment(source, "web-03", at)
        assert isinstance(found, Explanation)
        assert found.opening.incident_id == store.alerts[0].incident_id


def test_a_server_without_an_incident_is_replayed_from_its_training(source):
    found = explain_moment(source, "web-05", DECIDING + 30_000)
    assert found.observed_at == DECIDING  # the last observation up to then
    assert found.channels
    assert found.wanting
    assert found.notes == []


def test_what_the_group_shared_is_told(package):
    whole = whole_history()
    values = whole.values[TRAIN:].copy()
    values[FAULT_AT:, :] += 45.0
    store = Store(package)
    for t in range(FAULT_AT + 3):
        for i, server in enumerate(whole.servers):
            store.add(server, START_MS + (TRAIN + t) * STEP_MS, values[t, i])
    service(store, policy=PolicySettings(fleet_min_servers=5)).run(TICK)
    source = MemorySource(store)
    quiet = next(s for s in whole.servers if not source.incidents_of(s, 0, DECIDING + STEP_MS))
    found = explain_moment(source, quiet, DECIDING + STEP_MS)
    assert found.shared > 1.5
    assert f"{found.shared:.2f} was taken off, because the servers of its group shared it" in found.why


def test_a_server_that_warmed_up_says_so(package):
    whole = only(fleet(SERVERS, TRAIN + 40), "web-03")
    source = MemorySource(stored(package, whole.__class__(whole.times_ms, ("new-01",), *(
        whole.metrics, whole.values, whole.step_s)), {}, batch=1))  # fmt: skip
    found = explain_moment(source, "new-01", QUIET)
    assert found.status is Status.WARMING_UP
    assert "warming up" in found.why[0]
    assert not found.channels
    show_moment(found, wide_console())
    assert found.to_json()["severity"] is None


def test_what_has_expired_is_said_and_the_rest_explained(source):
    source.observed_from = QUIET - STEP_MS
    found = explain_moment(source, "web-03", QUIET)
    assert "have expired" in found.notes[0]
    assert found.channels == ()
    assert found.why[0].startswith("below P2 by")
    source.observed_from, source.without_forest = 0, True
    found = explain_moment(source, "web-03", QUIET)
    assert "what would have paged is not known" in found.notes[0]
    assert found.channels


def test_an_unknown_server_and_a_time_without_observations_are_refused(source):
    with pytest.raises(UsageError, match="nothing that was scored of 'web-77'"):
        explain_moment(source, "web-77", QUIET)
    with pytest.raises(UsageError, match="nothing that was scored of 'web-05'"):
        explain_moment(source, "web-05", QUIET + 10**9)
    with pytest.raises(UsageError, match="no observation at"):
        explain_moment(source, "web-05", START_MS + (TRAIN + FAULT_AT + 30) * STEP_MS)


def test_it_is_explained_from_a_run_s_folder_too(source, store, package, tmp_path, capsys, monkeypatch):
    from treeline.forest.forest import RandomCutForest

    monkeypatch.setattr("demo.incident_files.write_model_tar", lambda forest: b"")
    source.store.package = package
    kept = save(tmp_path / "incidents", source, source.incidents, package=package, forest=RandomCutForest,
                watched=(START_MS, DECIDING), server_count=SERVERS, quiet=["web-05", "web-03"])  # fmt: skip
    assert kept == 2
    source.without_forest = True
    monkeypatch.setattr("demo.incident_files.IncidentFolder.scorer", source.scorer)
    for server in ("web-03", "web-05"):
        assert run(["explain", "--server", server, "--at", iso(QUIET), "--run", str(tmp_path), "--json"]) == 0
        body = json.loads(capsys.readouterr().out)
        assert (body["server_id"], body["observed_at"], body["paged"]) == (server, iso(QUIET), False)
        assert body["channels"]
    assert run(["explain", "--server", "web-05", "--at", iso(QUIET), "--run", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert f"web-05 did not page at {iso(QUIET)[:19].replace('T', ' ')}" in told
    assert "short by" in told
    assert "<- asked" in told
    asked = ["explain", "--run", str(tmp_path)]
    like = "not of that one; like that name: web-0[35], web-0[35]$"
    with pytest.raises(UsageError, match=f"nothing that was scored of 'web-06'.* 2 of its {SERVERS} servers, {like}"):
        run([*asked, "--server", "web-06", "--at", iso(QUIET)])
    first, last = (iso(START_MS + (TRAIN + t) * STEP_MS) for t in (0, FAULT_AT + 15))
    with pytest.raises(UsageError, match=f"is stored: its scores are of {first} to {last}"):
        run([*asked, "--server", "web-05", "--at", iso(QUIET + 10**9)])
    with pytest.raises(UsageError, match="--reproduce rebuilds an incident, and 'web-05' had none open"):
        run([*asked, "--server", "web-05", "--at", iso(QUIET), "--reproduce"])
    index = tmp_path / "incidents" / "incidents.json"
    body = json.loads(index.read_text(encoding="utf-8"))
    [changes] = body["incidents"].values()
    body["incidents"] = {f"app-{i}/t": changes for i in range(7)} | {"web-03/t": changes}
    index.write_text(json.dumps(body), encoding="utf-8")
    with pytest.raises(UsageError, match=r"there are: app-0/t, app-1/t, app-2/t, app-3/t, app-4/t and 2 more$"):
        run([*asked, "app"])


def test_a_folder_without_a_run_is_refused_in_plain_words(tmp_path):
    with pytest.raises(UsageError, match=r"holds no incidents of a run: there is no .*incidents.json") as refused:
        run(["explain", "app", "--run", str(tmp_path)])
    assert "Errno" not in str(refused.value)


def test_without_a_region_it_says_what_to_set(monkeypatch):
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    with pytest.raises(DeploymentError, match=r"Set AWS_REGION .* --run DIR reads a run instead"):
        run(["explain", "app"])


@pytest.mark.parametrize(
    "given", [[], ["--server", "a"], ["--at", "2026-01-01"], ["i", "--server", "a", "--at", "2026-01-01"]]
)
def test_it_is_either_an_incident_or_a_server_and_a_time(given):
    with pytest.raises(UsageError, match="either INCIDENT, or --server X and --at T"):
        run(["explain", *given])
