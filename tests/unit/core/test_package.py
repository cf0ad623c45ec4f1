"""The model package: what goes in comes out, and what does not fit is told early."""

import io
import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from tests.unit.core.fleets import ready_state
from treeline.core.arrays import Home
from treeline.core.channels import registry
from treeline.core.detection.calibration import Calibration
from treeline.core.detection.features import feature_names
from treeline.core.errors import ModelMismatchError
from treeline.core.expectation.peers import NOBODY
from treeline.core.model.package import ModelPackage
from treeline.core.model.seeds import SERVERS_A_MEMBER
from treeline.core.state.codec import StoredState
from treeline.core.state.fleet import FleetState, Phase

METRICS = ("cpu", "memory", "network", "disk")


def package(**changes):
    values = {
        "model_version": "m1",
        "metrics": METRICS,
        "features": feature_names(METRICS),
        "step_s": 60.0,
        "calibration": Calibration(),
        "seeds": ready_state(3),
        "typical": {"score_mean": 0.25, "channel_floor": [0.3] * len(registry.CHANNELS)},
        "fingerprint": "0123456789abcdef",
        "manifest": {"servers": 3},
    }
    return ModelPackage(**{**values, **changes})


def repacked(data, change):
    """The package's bytes with other members."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, body in change(members).items():
            archive.writestr(name, body)
    return buffer.getvalue()


def with_manifest(**values):
    def change(members):
        manifest = {**json.loads(members["manifest.json"]), **values}
        return {**members, "manifest.json": json.dumps({k: v for k, v in manifest.items() if v is not None})}

    return change


def test_a_package_survives_its_bytes_and_equal_packages_have_equal_bytes():
    data = package().to_bytes()
    back = ModelPackage.from_bytes(data)
    assert back.to_bytes() == data == package().to_bytes()
    assert (back.metrics, back.calibration, back.typical, back.step_ms) == (
        METRICS,
        Calibration(),
        {"score_mean": 0.25, "channel_floor": [0.3] * len(registry.CHANNELS)},
        60_000,
    )
    assert back.seeds.pack() == ready_state(3).pack()


@pytest.mark.parametrize("data", [b"", b"nonsense", b"PK\x03\x04" + b"\x00" * 60])
def test_bytes_that_are_no_package_are_refused(data):
    with pytest.raises(ModelMismatchError):
        ModelPackage.from_bytes(data)


def test_a_package_damaged_anywhere_is_refused_or_whole():
    data = package().to_bytes()
    for position in range(0, len(data), 37):
        damaged = data[:position] + bytes([data[position] ^ 0x55]) + data[position + 1 :]
        try:
            back = ModelPackage.from_bytes(damaged)
        except ModelMismatchError:
            continue
        assert back.to_bytes() == data, "a byte of the zip's own that says nothing about the content"


@pytest.mark.parametrize(
    "change",
    [
        with_manifest(format=1),
        with_manifest(metrics=["cpu"]),
        with_manifest(model_version=None),
        with_manifest(training=None),
        lambda members: {**members, "seeds/00000.bin": members["seeds/00000.bin"][:-1]},
        lambda members: {**members, "servers.json": b'["s00"]'},
        lambda members: {name: data for name, data in members.items() if name != "seeds/00000.bin"},
        with_manifest(members_sha256=["a", "list"]),
        lambda members: {"manifest.json": members["manifest.json"]},
        lambda members: {**members, "manifest.json": b"{"},
    ],
)
def test_a_package_that_does_not_fit_this_code_is_refused(change):
    with pytest.raises(ModelMismatchError):
        ModelPackage.from_bytes(repacked(package().to_bytes(), change))


def test_a_forest_that_was_grown_on_other_rows_is_read_and_told_apart():
    """Detection then goes on by the channels alone."""
    other = ModelPackage.from_bytes(repacked(package().to_bytes(), with_manifest(features=["level_mean", "level_max"])))
    assert not other.has_todays_rows
    assert ModelPackage.from_bytes(package().to_bytes()).has_todays_rows


def test_the_deployments_metrics_must_be_the_models_in_order():
    package().require_metrics(METRICS)
    with pytest.raises(ModelMismatchError, match="m1 was trained on"):
        package().require_metrics(METRICS[::-1])


def test_a_server_the_model_knows_starts_from_its_seed_and_another_warms_up_with_typical_values():
    model = package()
    state = model.new_state()
    model.admit(state, ["stranger", "s01"])
    assert state.phase.tolist() == [Phase.WARMING_UP, Phase.READY]
    assert state.score_mean[0] == np.float32(0.25)
    for name, value in model.seeds.row_values(1).items():
        np.testing.assert_array_equal(getattr(state, name)[1], value)
    state.day_mean[1] = 99.0
    assert model.seeds.day_mean[1, 0] == 0.0, "the seeds stay what they are"


def test_admitting_nobody_changes_nothing():
    model, state = package(), FleetState(4)
    model.admit(state, [])
    assert state.servers == []


def test_typical_values_are_numbers():
    typical = ModelPackage.from_bytes(package().to_bytes()).typical
    assert all(np.isfinite(value).all() for value in typical.values())


class Reads(io.BytesIO):
    """A file that notes which bytes are read of it."""

    def __init__(self, data):
        super().__init__(data)
        self.ranges = []

    def read(self, size=-1):
        start = self.tell()
        found = super().read(size)
        self.ranges.append((start, start + len(found)))
        return found


def test_the_seeds_of_a_groups_servers_are_read_alone():
    """A function of a large fleet has no room for all of them, and no time to read them."""
    servers = 4 * SERVERS_A_MEMBER
    whole = package(seeds=ready_state(servers))
    whole.seeds.day_mean[:, 0] = np.arange(servers)
    file = Reads(whole.to_bytes())
    opened = ModelPackage.open(file)
    assert opened.seeds.servers == []
    read_to_open = sum(end - start for start, end in file.ranges)

    known = [f"s{i:02d}" for i in range(SERVERS_A_MEMBER, SERVERS_A_MEMBER + 5)]
    opened.fetch(["stranger", *known])
    assert opened.seeds.servers == known
    read_for_one = sum(end - start for start, end in file.ranges) - read_to_open
    assert read_to_open + read_for_one < len(whole.to_bytes()) / 2

    state = opened.new_state()
    opened.admit(state, ["stranger", "s51", "s199"])
    assert state.day_mean[:, 0].tolist() == [0.0, 51.0, 199.0]
    before = len(file.ranges)
    opened.attach(state)
    assert len(file.ranges) == before, "what is in memory is not read again"


def test_no_more_seeds_stay_in_memory_than_a_worker_has_room_for(monkeypatch):
    one = sum(array.nbytes for array in ready_state(1).arrays().values())
    monkeypatch.setattr("treeline.core.model.package.MOST_SEED_BYTES", 1.5 * one)
    opened = ModelPackage.open(io.BytesIO(package(seeds=ready_state(3 * SERVERS_A_MEMBER)).to_bytes()))
    opened.fetch(["s00"])
    opened.fetch(["s50"])
    opened.fetch(["s100", "s51"])
    assert sorted(opened.seeds.servers) == ["s100", "s51"]


def test_a_member_that_would_unpack_to_more_than_any_package_has_is_refused(monkeypatch):
    data = package().to_bytes()
    monkeypatch.setattr("treeline.core.model.seeds.LARGEST_MEMBER", 1000)
    with pytest.raises(ModelMismatchError, match="would unpack to more than"):
        ModelPackage.from_bytes(data)


def test_a_damaged_member_is_told_when_it_is_read():
    def damage(members):
        return {**members, "seeds/00001.bin": b"other"}

    opened = ModelPackage.open(io.BytesIO(repacked(package(seeds=ready_state(60)).to_bytes(), damage)))
    opened.fetch(["s00"])
    with pytest.raises(ModelMismatchError, match=r"seeds/00001\.bin is damaged"):
        opened.fetch(["s55"])


def test_what_only_the_package_has_is_attached_to_the_servers_it_knows():
    model = package()
    model.seeds.relation[:], model.seeds.season_level[:] = 0.5, 7.0
    model.seeds.day_mean[:] = 3.0
    state = FleetState(4, servers=["stranger", "s01"])
    model.attach(state)
    assert state.relation[:, 0, 0].tolist() == [0.0, 0.5], "without weights a stranger's relation is silent"
    assert np.isnan(state.season_level).all()
    model.attach(state, Home.TABLE)
    assert state.season_level[1, 0, 0, 0] == 7.0
    assert np.isnan(state.season_level[0]).all()
    assert (state.day_mean == 0.0).all(), "what is stored with the state stays"


def test_what_an_older_version_did_not_store_is_once_as_training_left_it():
    model = package()
    model.seeds.trailing_mean[:], model.seeds.day_mean[:] = 3.0, 3.0
    older = FleetState(4, servers=["s01"]).pack(Home.STATE)
    stored = StoredState.from_bytes(older)
    arrays = {name: array for name, array in stored.arrays.items() if name != "trailing_mean"}
    layout = replace(stored.layout, arrays=tuple(spec for spec in stored.layout.arrays if spec.name in arrays))
    state = FleetState.of_stored(StoredState({**stored.head, **layout.to_json()}, layout, arrays)).copy()
    model.attach(state)
    assert (state.trailing_mean[0, 0], state.day_mean[0, 0]) == (3.0, 0.0)
    state.trailing_mean[:] = 1.0
    model.attach(state)
    assert state.trailing_mean[0, 0] == 1.0, "what has been learned since stays"


@pytest.mark.parametrize("is_whole", [True, False])
def test_peers_are_found_again_in_a_state_of_other_rows(is_whole):
    """Training knows them by their rows among all servers; one that is in another group has none here."""
    model = package(seeds=ready_state(2 * SERVERS_A_MEMBER))
    model.seeds.peer_rows[60, 0, :3] = [70, 3, 61]
    data = model.to_bytes()
    read = ModelPackage.from_bytes(data) if is_whole else ModelPackage.open(io.BytesIO(data))
    state = read.new_state()
    read.admit(state, ["stranger", "s61", "s60", "s70"])
    assert state.peer_rows[2, 0, :4].tolist() == [3, NOBODY, 1, NOBODY]
    assert (state.peer_rows[[0, 1, 3]] == NOBODY).all()
