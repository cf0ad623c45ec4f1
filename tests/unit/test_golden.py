"""What earlier versions stored is read by today's code, value for value, and gone on with.

A set of golden files a format stands in tests/golden; tests/golden/README.md says how they were made.
"""

import base64
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from moto import mock_aws

from tests.golden import make
from tests.golden.put_back import put_back
from tests.unit.detection_fakes import fleet, trained
from treeline.app.detect import scoreblock
from treeline.app.detect.origin import Origin
from treeline.app.detect.scoreblock import ScoreBlock
from treeline.app.detect.season_blocks import SeasonBlocks
from treeline.aws.detect.detector_records import DetectorRecords
from treeline.aws.detect.table_blocks import TableBlocks
from treeline.aws.page.table import PageTable
from treeline.core.alert import AlertEvent
from treeline.core.arrays import Axis, Home
from treeline.core.errors import ModelMismatchError, StateConflictError
from treeline.core.expectation import rolling
from treeline.core.model.handover import hand_over
from treeline.core.model.package import ModelPackage
from treeline.core.state import codec, format_2, table
from treeline.core.state.codec import StoredState
from treeline.core.state.fleet import FleetState, Phase
from treeline.core.state.layout import Layout, todays_layout

FOLDER = Path(make.__file__).parent
LAYOUT = todays_layout()
ROLLING, WINDOW_S = FOLDER / "format-4-rolling", 3600.0
SETS = sorted(FOLDER.glob("format-*"))
every_set = pytest.mark.parametrize("golden", SETS, ids=lambda path: path.name)


def read(golden: Path, name: str) -> Any:
    return json.loads((golden / name).read_text())


def assert_state(state: FleetState, expected: dict[str, Any], *, exact: bool = True) -> None:
    """Every stored value is there, along the channel axis under its channel's name."""
    assert (state.servers, state.version, state.activation) == (
        expected["servers"],
        expected["version"],
        expected["activation"],
    )
    cycle = asdict(state.cycle)
    assert {name: cycle[name] for name in expected["cycle"]} == pytest.approx(
        expected["cycle"], rel=0 if exact else 1e-5
    )
    channels = tuple(expected.get("channels", format_2.LAYOUT.channels))
    stored_layout = Layout(channels, ())
    compared = 0
    for spec in state.layout.arrays:
        if spec.name not in expected["arrays"]:
            continue
        stored = expected["arrays"][spec.name]
        array, values = state.arrays()[spec.name], np.array(stored["values"], stored["dtype"])
        if names := state.layout.names_along(spec):
            along = 1 + next(i for i, axis in enumerate(spec.axes) if axis in (Axis.CHANNELS, Axis.EVERY_CHANNEL))
            known = stored_layout.names_along(spec)
            there = [known.index(name) for name in names if name in known]
            here = [place for place, name in enumerate(names) if name in known]
            array, values = np.take(array, here, along), np.take(values, there, along)
        if exact:
            np.testing.assert_array_equal(array, values, err_msg=spec.name)
        else:  # another machine's exp and sqrt
            np.testing.assert_allclose(array, values, rtol=2e-3, atol=1e-4, err_msg=spec.name)
        compared += 1
    assert compared > 25


def as_item(body: Any) -> Any:
    """What `make.as_json` wrote, as an item again."""
    if isinstance(body, dict):
        return {key: base64.b64decode(value) if key == "B" else as_item(value) for key, value in body.items()}
    return [as_item(value) for value in body] if isinstance(body, list) else body


@pytest.fixture
def client() -> Iterator[Any]:
    with mock_aws():
        yield make.tables()


def filled(client: Any, golden: Path) -> Any:
    """The tables with what the set's code left there."""
    for name, items in read(golden, "tables.json").items():
        for item in items:
            client.put_item(TableName=name, Item=as_item(item))
    return client


def worker(client: Any) -> DetectorRecords:
    return DetectorRecords(client, "state", clock_ms=lambda: make.NOW_MS, writes=True)


@every_set
def test_a_state_is_read_value_for_value(golden: Path):
    assert_state(FleetState.unpack((golden / "state.bin").read_bytes()), read(golden, "stored.json")["state"])


def test_a_rolling_window_is_read_with_all_that_it_gathered():
    """No other layout has its length and arrays: a state that lost them would compare equal in all that is left."""
    stored = read(ROLLING, "stored.json")
    package = ModelPackage.from_bytes((ROLLING / "package.zip").read_bytes())
    for state, part in ((FleetState.unpack((ROLLING / "state.bin").read_bytes()), "state"), (package.seeds, "seeds")):
        assert state.rolling_window_s == WINDOW_S
        for name in rolling.NAMES:
            np.testing.assert_array_equal(getattr(state, name), stored[part]["arrays"][name]["values"], err_msg=name)
            assert getattr(state, name).any() or part == "seeds", name


@pytest.mark.parametrize("part", ["state", "seeds"])
@pytest.mark.parametrize("golden", ["format-2", "format-3"])
def test_an_older_state_expects_what_its_trailing_day_was(golden: str, part: str):
    """Of the group's servers, and of those that it gets later, from the package."""
    data = (FOLDER / golden / "state.bin").read_bytes()
    package = ModelPackage.from_bytes((FOLDER / golden / "package.zip").read_bytes())
    state = FleetState.unpack(data) if part == "state" else package.seeds
    stored = read(FOLDER / golden, "stored.json")[part]["arrays"]
    for name, source in (("trailing_mean", "day_mean"), ("trailing_var", "day_var")):
        np.testing.assert_array_equal(getattr(state, name), np.array(stored[source]["values"], np.float32))
        assert getattr(state, name).any()


@every_set
def test_a_log_is_read_with_all_that_was_committed(golden: Path, client: Any):
    """Deltas on a head, check sums and all, with what people are owed and what is kept from them."""
    record = worker(filled(client, golden)).load(0, "m1")
    stored = read(golden, "stored.json")

    assert record is not None
    assert_state(record.state, stored["state"])
    found = json.loads(json.dumps([alert.to_json() for alert in record.outbox]))
    assert as_far_as_known(found, stored["outbox"]) == stored["outbox"]
    assert {server: entry.to_json() for server, entry in record.suppressed.items()} == stored["untold"]


def as_far_as_known(found: Any, stored: Any) -> Any:
    """What was found, without the fields that the code which stored it did not have."""
    if isinstance(stored, dict):
        return {name: as_far_as_known(found[name], value) for name, value in stored.items()}
    if isinstance(stored, list):
        return [as_far_as_known(one, other) for one, other in zip(found, stored, strict=True)]
    return found


@every_set
def test_a_package_is_read_value_for_value(golden: Path):
    package = ModelPackage.from_bytes((golden / "package.zip").read_bytes())
    stored = read(golden, "stored.json")

    assert_state(package.seeds, stored["seeds"])
    expected = stored["package"]
    known = len(stored["seeds"].get("channels", format_2.LAYOUT.channels))  # later channels stand behind them
    for name, value in package.typical.items():
        if name in expected["typical"]:
            assert (value[:known] if isinstance(value, list) else value) == expected["typical"][name]
    for name, thresholds in expected["calibration"].items():
        if not name.startswith("score_"):
            found = package.calibration[name]
            assert {key: getattr(found, key) for key in thresholds} == thresholds
    assert list(package.features) == expected.get("features", list(package.features))
    assert list(package.metrics) == expected["metrics"]
    for name in ("model_version", "step_s", "fingerprint"):
        assert getattr(package, name) == expected[name]
    assert package.manifest == expected["training"]
    assert_state(ModelPackage.from_bytes(package.to_bytes()).seeds, stored["seeds"])


@every_set
def test_a_score_block_is_read_value_for_value(golden: Path):
    block = ScoreBlock.unpack((golden / "block.bin").read_bytes())
    expected = read(golden, "stored.json")["block"]

    assert (block.servers, block.version, block.model_version) == (
        expected["servers"],
        expected["version"],
        expected["model_version"],
    )
    for name in set(expected) - {"servers", "version", "model_version", "origins"}:
        array = getattr(block, name)
        np.testing.assert_array_equal(array, np.array(expected[name], array.dtype), err_msg=name)
    assert sorted(block.origins) == sorted(expected["origins"])
    for server, state in expected["origins"].items():
        assert_state(Origin.unpack(block.origins[server]).state, state)


@every_set
def test_the_ledger_of_pages_is_read_and_gone_on_with(golden: Path, client: Any):
    table = PageTable(filled(client, golden), "pages", clock_ms=lambda: make.NOW_MS)
    expected = read(golden, "stored.json")["pages"]

    assert len(expected) == 3
    for key, entry in expected.items():
        found = table.load(key)
        assert json.loads(json.dumps(asdict(found))) == entry
        assert table.save(key, replace(found, version=found.version + 1))


@every_set
def test_detection_goes_on_from_what_was_stored(golden: Path, client: Any):
    """The open incidents resolve under their own ids and next sequences; a model of today's decides all alike.

    Before format 4 forests were grown on other rows: such a model goes on without its score, so it decides otherwise.
    """
    package = ModelPackage.from_bytes((golden / "package.zip").read_bytes())
    store = make.Tables(package, filled(client, golden))
    stored, expected = read(golden, "stored.json"), read(golden, "continued.json")
    make.run(store, expected["observations"])

    is_open = {
        s for s, n in zip(stored["state"]["servers"], stored["state"]["arrays"]["incident"]["values"], strict=True) if n
    }
    assert is_open
    resolved = {alert.server_id: alert for alert in store.alerts if alert.event is AlertEvent.RESOLVED}
    before = {alert["server_id"]: alert for alert in expected["alerts"] if alert["event"] == "resolved"}
    for server in is_open | {"fleet"}:
        assert resolved[server].incident_id == before[server]["incident_id"]
        assert resolved[server].dedup_key == before[server]["dedup_key"]
    scored = store.scored()
    assert len(expected["scored"]) > 60
    after = store.records.load(0, "m1")
    assert after is not None
    if package.has_todays_rows:
        for server, at, *result in expected["scored"]:
            np.testing.assert_allclose(scored[server, at], result, rtol=1e-3, atol=1e-4)
        told = [what(alert.to_json()) for alert in store.alerts]
        assert told == [what(alert) for alert in expected["alerts"]]
        assert_state(after.state, expected["state"], exact=False)
    else:
        warming = stored["state"]["arrays"]["phase"]["values"].index(Phase.WARMING_UP)
        for name in ("day_mean", "day_var"):  # what it has seen still counts for as much
            then = np.array(expected["state"]["arrays"][name]["values"])[warming]
            np.testing.assert_allclose(getattr(after.state, name)[warming], then, rtol=1e-3, err_msg=name)
        assert {scored[server, at][:2] for server, at, status, *_ in expected["scored"] if status == 1} == {(1, 0.0)}
        assert after.state.servers == expected["state"]["servers"]
        assert after.state.last_at.tolist() == expected["state"]["arrays"]["last_at"]["values"]


def what(alert: dict[str, Any]) -> list[Any]:
    return [alert[name] for name in ("incident_id", "sequence", "event", "priority", "dedup_key", "server_id")]


@every_set
def test_the_seasonal_table_is_read_value_for_value(golden: Path, client: Any):
    """The blocks that the record names; before format 4, and beside a rolling window, there is no table."""
    tables = TableBlocks(filled(client, golden), "state", clock_ms=lambda: make.NOW_MS)
    record = worker(client).load(0, "m1")
    assert record is not None
    expected = read(golden, "stored.json").get("blocks", {})
    named = {str(number): name for number, name in enumerate(record.state.table) if name}
    assert named == {number: block["name"] for number, block in expected.items()}
    assert SeasonBlocks(tables).fill(0, "m1", record.state, map(int, expected)) == []
    for number, block in expected.items():
        for name, part in table.parts(record.state, int(number)).items():
            np.testing.assert_array_equal(part, np.array(block["arrays"][name], part.dtype), err_msg=name)
    assert bool(expected) == (golden.name not in ("format-2", "format-3") and "rolling" not in golden.name)


@every_set
def test_a_new_model_takes_an_old_state_over(golden: Path):
    """What people were told stays, though the new model's package is of today's format."""
    old = FleetState.unpack((golden / "state.bin").read_bytes())
    package = trained(fleet(3, 1440), version="m2")

    state = hand_over(package, old, calibration=package.calibration)

    for name in ("incident", "opened_at", "sequence", "last_p2_at", "resolved_at", "seen_at", "observations"):
        np.testing.assert_array_equal(getattr(state, name), getattr(old, name), err_msg=name)
    assert 2 in state.incident.tolist()
    assert state.cycle == old.cycle


@every_set
def test_the_first_commit_stores_a_whole_state_in_todays_format(golden: Path, client: Any):
    """A delta belongs to the layout it was made in: none crosses from one format to the next."""
    ours = worker(filled(client, golden))
    record = ours.load(0, "m1")
    assert record is not None
    stored = StoredState.from_bytes((golden / "state.bin").read_bytes()).layout
    is_other = stored != todays_layout(stored.rolling_window_s).only(Home.STATE)
    for step in range(1, 4):
        record.state.version += 1
        record.outbox = []
        ours.commit(record, record.state.version - 1)
        entry = client.get_item(TableName="state", Key=entry_key(record.state.version))["Item"]
        assert ("state" in entry) == (is_other and step == 1)
    for reader in (ours, worker(client)):
        again = reader.load(0, "m1")
        assert again is not None
        assert again.state.pack() == record.state.pack()


@every_set
def test_an_old_and_a_new_worker_do_not_both_commit(golden: Path, client: Any):
    """During a deployment: the old worker's last delta stands and is read, ours is decided again on top of it."""
    items = read(golden, "tables.json")["state"]
    last = max((i for i in items if "#" in i["model_version"]["S"]), key=lambda item: item["model_version"]["S"])
    ours = worker(filled(client, golden))
    client.delete_item(TableName="state", Key=entry_key(version := int(last["model_version"]["S"][3:])))
    record = ours.load(0, "m1")
    assert record is not None
    assert record.state.version == version - 1
    client.put_item(TableName="state", Item=as_item(last))

    record.state.version += 1
    with pytest.raises(StateConflictError, match="moved on from version"):
        ours.commit(record, version - 1)

    theirs = ours.load(0, "m1")
    assert theirs is not None
    assert_state(theirs.state, read(golden, "stored.json")["state"])


def test_what_the_test_of_an_update_puts_back_is_what_format_2_was():
    """tests/deployed/test_update.py begins from a table that commit 291f9e5 could have left, byte for byte."""
    ours = put_back(as_item(read(FOLDER / "format-3", "tables.json")["state"]))
    theirs = as_item(read(FOLDER / "format-2", "tables.json")["state"])

    ours[1].pop("delta")  # of the head's own version: what came before it is not in the set, and nothing reads it
    theirs[1].pop("delta")
    assert [with_delta_read(item) for item in ours] == [with_delta_read(item) for item in theirs]


def with_delta_read(item: dict[str, Any]) -> dict[str, Any]:
    """The item with its delta taken apart: the order of the names in its head changed since, and means nothing."""
    if "delta" not in item:
        return item
    check_sum, body = item["delta"]["B"][:4], zlib.decompress(item["delta"]["B"][4:])
    size, rows = struct.unpack_from("<IH", body)
    return {**item, "delta": (check_sum, rows, json.loads(body[6 : 6 + size]), body[6 + size :])}


def entry_key(version: int) -> dict[str, Any]:
    return {"group": {"N": "0"}, "model_version": {"S": f"m1#{version:010d}"}}


def test_the_newest_set_covers_what_todays_code_stores():
    """Who changes what is stored adds files that later versions are held to."""
    advice = f"python -m tests.golden.make tests/golden/format-{codec.FORMAT}-NAME, and say in its README why"
    newest = [read(golden, "stored.json") for golden in SETS if golden.name.startswith(f"format-{codec.FORMAT}")]
    assert newest, f"no golden files of format {codec.FORMAT}: {advice}"
    layouts = [StoredState.from_bytes((golden / "state.bin").read_bytes()).layout for golden in SETS]
    stored = [(layout.channels, set(layout.arrays)) for layout in layouts]  # their order says nothing
    for of_a_record in (LAYOUT.only(Home.STATE), todays_layout(WINDOW_S).only(Home.STATE)):
        assert (of_a_record.channels, set(of_a_record.arrays)) in stored, f"no golden file has today's arrays: {advice}"
    package = trained(fleet(2, 400))
    assert any(set(stored["package"]["typical"]) == set(package.typical) for stored in newest), advice
    assert any(stored["package"]["calibration"].keys() == package.calibration.to_json().keys() for stored in newest), (
        advice
    )


def newer(data: bytes, newest: int) -> bytes:
    return data.replace(f'"format":{newest}'.encode(), f'"format":{newest + 1}'.encode(), 1)


@pytest.mark.parametrize(
    ("read_it", "file", "newest"),
    [(FleetState.unpack, "state.bin", codec.FORMAT), (ScoreBlock.unpack, "block.bin", scoreblock.FORMAT)],
)
def test_what_a_newer_version_stored_is_refused_by_name(read_it: Callable[[bytes], Any], file: str, newest: int):
    stored = newer((SETS[-1] / file).read_bytes(), newest)
    named = rf"written by a newer Treeline \(format {newest + 1}, this code reads up to {newest}\)"
    with pytest.raises(ModelMismatchError, match=named):
        read_it(stored)


def test_an_entry_of_the_ledger_names_its_format_and_a_newer_one_is_refused(client: Any):
    """Entries from before the ledger had a format name none, and are of the first: the sets above hold them."""
    stored, expected = read(FOLDER, "page-1.json"), json.loads((SETS[-1] / "stored.json").read_text())["pages"]
    pages = PageTable(client, "pages", clock_ms=lambda: make.NOW_MS)
    for item in stored:
        client.put_item(TableName="pages", Item=as_item(item))
        key = item["dedup_key"]["S"]
        entry = pages.load(key)
        assert json.loads(json.dumps(asdict(entry))) == expected[key]
        assert pages.save(key, replace(entry, version=entry.version + 1))
        again = client.get_item(TableName="pages", Key={"dedup_key": {"S": key}})["Item"]
        assert again == {**item, "version": {"N": str(entry.version + 1)}}  # today's code writes the same form
        client.put_item(TableName="pages", Item={**again, "format": {"N": "2"}})
        with pytest.raises(ModelMismatchError, match=r"ledger of pages was written by a newer Treeline \(format 2"):
            pages.load(key)
