"""The faster DynamoDB answers as ministack's own does, request by request."""

from __future__ import annotations

import importlib.util
import json
import random
import zlib
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from ministack.services import dynamodb

from emulator.dynamodb import install as dynamodb_install
from emulator.dynamodb import stored_items
from emulator.dynamodb.plain_batches import number_bytes

Call = Callable[[str, dict[str, Any]], tuple[int, dict[str, Any]]]

TABLE = {
    "TableName": "observations",
    "BillingMode": "PAY_PER_REQUEST",
    "AttributeDefinitions": [
        {"AttributeName": name, "AttributeType": kind}
        for name, kind in (("server_id", "S"), ("observed_at", "S"), ("group", "N"), ("group_sort", "S"), ("load", "N"))
    ],
    "KeySchema": [
        {"AttributeName": "server_id", "KeyType": "HASH"},
        {"AttributeName": "observed_at", "KeyType": "RANGE"},
    ],
    "GlobalSecondaryIndexes": [
        {
            "IndexName": name,
            "KeySchema": [{"AttributeName": k, "KeyType": t} for k, t in zip(keys, ("HASH", "RANGE"), strict=False)],
            "Projection": projection,
        }
        for name, keys, projection in (
            ("by-group", ("group", "group_sort"), {"ProjectionType": "ALL"}),
            ("by-load", ("group", "load"), {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["source"]}),
            ("group-only", ("group",), {"ProjectionType": "KEYS_ONLY"}),
        )
    ],
    "LocalSecondaryIndexes": [
        {
            "IndexName": "by-server-load",
            "KeySchema": [
                {"AttributeName": "server_id", "KeyType": "HASH"},
                {"AttributeName": "load", "KeyType": "RANGE"},
            ],
            "Projection": {"ProjectionType": "ALL"},
        }
    ],
}


def private_copy(name: str) -> ModuleType:
    """ministack's DynamoDB with tables of its own, so that neither side sees the other's."""
    spec = importlib.util.spec_from_file_location(name, dynamodb.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def caller(module: ModuleType) -> Call:
    def call(operation: str, request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        headers = {"x-amz-target": f"DynamoDB_20120810.{operation}"}
        coroutine = module.handle_request("POST", "/", headers, json.dumps(request).encode(), {})
        try:
            coroutine.send(None)
        except StopIteration as stop:
            status, answer_headers, body = stop.value
            assert answer_headers["x-amz-crc32"] == str(zlib.crc32(body))
            return status, json.loads(body)
        raise AssertionError("the emulator awaited something")

    return call


@pytest.fixture
def modules() -> tuple[ModuleType, ModuleType]:
    plain, fast = private_copy("plain_dynamodb"), private_copy("fast_dynamodb")
    dynamodb_install.install(fast)
    for module in (plain, fast):
        assert caller(module)("CreateTable", TABLE)[0] == 200
    return plain, fast


@pytest.fixture
def both(modules: tuple[ModuleType, ModuleType]) -> Call:
    """Send a request to both implementations; they must agree."""
    plain, fast = (caller(module) for module in modules)

    def call(operation: str, request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        expected, actual = plain(operation, request), fast(operation, request)
        assert actual == expected, (operation, request)
        return actual

    return call


NUMBERS = ["0", "7", "100", "-3", "0.5", "0.05", "0.001", "-0.25", "12.5", "123.4567", "-98.765", "1200.25", "3.10"]
NUMBERS += ["1E-7", "1e3", "007", "-0", "0.0", "99999999999999999999.5", "5.", "+4", "0.000000000000000000000000001"]


def observation(rng: random.Random, *, number_count: int = 6) -> dict[str, Any]:
    server, minute = f"server-{rng.randrange(6)}", rng.randrange(60)
    at = f"2026-11-22T10:{minute:02d}:00.000Z"
    item: dict[str, Any] = {
        "metrics": {"M": {f"metric_{i}": {"N": rng.choice(NUMBERS)} for i in range(rng.randrange(number_count))}},
        "server_id": {"S": server},
        "observed_at": {"S": at},
        "labels": {"M": {"tier": {"S": rng.choice(["wéb", "{db}", '"quoted"'])}}},
        "source": {"S": rng.choice(["agent", "replay"])},
    }
    if rng.random() < 0.3:
        item["labels"]["M"]["tags"] = {"L": [{"BOOL": True}]}
    if rng.random() < 0.9:  # indexes are sparse
        item["group"] = {"N": rng.choice(["0", "1"])}
        item["group_sort"] = {"S": f"{at}#{server}"}
    if rng.random() < 0.7:
        item["load"] = {"N": rng.choice(["-2", "0", "0.5", "3", "10", "100"])}
    return item


def key_of(item: dict[str, Any]) -> dict[str, Any]:
    return {"server_id": item["server_id"], "observed_at": item["observed_at"]}


def random_write(rng: random.Random) -> tuple[str, dict[str, Any]]:
    item = observation(rng)
    put = {"TableName": "observations", "Item": item}
    delete = {"TableName": "observations", "Key": key_of(item)}
    update = {
        "TableName": "observations",
        "Key": key_of(item),
        "UpdateExpression": rng.choice(
            ["SET #g = :g, group_sort = :s", "REMOVE #g SET #l = :l", "SET #l = :l", "ADD #l :l REMOVE labels.tier"]
        ),
        "ExpressionAttributeNames": {"#g": "group", "#l": "load"},
        "ExpressionAttributeValues": {":g": {"N": "1"}, ":s": {"S": "2026-11-22T10:30#moved"}, ":l": {"N": "4"}},
        "ReturnValues": rng.choice(["NONE", "ALL_OLD", "ALL_NEW", "UPDATED_NEW"]),
    }
    expression = update["UpdateExpression"]
    for references in ("ExpressionAttributeNames", "ExpressionAttributeValues"):
        update[references] = {k: v for k, v in update[references].items() if k in expression}
    batch = {
        "RequestItems": {
            "observations": [
                {"PutRequest": {"Item": observation(rng)}}
                if rng.random() < 0.8
                else {"DeleteRequest": {"Key": key_of(item)}}
                for _ in range(rng.randrange(1, 8))
            ]
        }
    }
    if rng.random() < 0.5:
        batch["ReturnConsumedCapacity"] = rng.choice(["NONE", "TOTAL", "INDEXES"])
    transaction = {"TransactItems": [{"Put": put}, {"Delete": {**delete, "Key": key_of(observation(rng))}}]}
    return rng.choice(
        [
            ("PutItem", put | {"ReturnValues": "ALL_OLD", "ReturnConsumedCapacity": "TOTAL"}),
            ("PutItem", put | {"ConditionExpression": "attribute_not_exists(server_id)"}),
            ("DeleteItem", delete | {"ReturnValues": "ALL_OLD"}),
            ("UpdateItem", update),
            ("BatchWriteItem", batch),
            ("BatchWriteItem", batch),
            ("TransactWriteItems", transaction),
            (
                "ExecuteStatement",
                {
                    "Statement": "DELETE FROM observations WHERE server_id=? AND observed_at=?",
                    "Parameters": [item["server_id"], item["observed_at"]],
                },
            ),
        ]
    )


def random_query(rng: random.Random) -> dict[str, Any]:
    index, hash_name, sort_name = rng.choice(
        [
            ("by-group", "group", "group_sort"),
            ("by-group", "group", "group_sort"),
            ("by-load", "group", "load"),
            ("group-only", "group", None),
            ("by-server-load", "server_id", "load"),
            (None, "server_id", "observed_at"),
        ]
    )
    low, high = sorted(rng.sample(range(60), 2))

    def sort_value(minute: int) -> dict[str, str]:
        if sort_name == "load":
            return {"N": str(minute - 10)}
        return {"S": f"2026-11-22T10:{minute:02d}" + rng.choice(["", ":00.000Z", ":00.000Z#server-2"])}

    values = {":h": {"N": rng.choice("0019")} if hash_name == "group" else {"S": f"server-{rng.randrange(7)}"}}
    condition = "#h = :h"
    names = {"#h": hash_name}
    if sort_name and rng.random() < 0.85:
        form = rng.choice(
            ["{s} >= :a", "{s} > :a", "{s} < :a", "{s} <= :a", "{s} = :a", "{s} BETWEEN :a AND :b", "begins"]
        )
        if form == "begins":
            form = "begins_with({s}, :a)"
        sort_text = rng.choice([sort_name, "#s"])
        if sort_text == "#s":
            names["#s"] = sort_name
        values[":a"] = sort_value(low)
        if ":b" in form:
            values[":b"] = sort_value(high)
        clauses = [condition, form.format(s=sort_text)]
        rng.shuffle(clauses)
        condition = rng.choice(["{0} AND {1}", "({0} and {1})", "({0}) AND ({1})"]).format(*clauses)
    request: dict[str, Any] = {"TableName": "observations", "KeyConditionExpression": condition}
    if index:
        request["IndexName"] = index
    if rng.random() < 0.7:
        request["Limit"] = rng.choice([1, 2, 5, 50])
    if rng.random() < 0.5:
        request["ScanIndexForward"] = rng.random() < 0.3
    if rng.random() < 0.3:
        request["FilterExpression"] = "#f = :f"
        names["#f"], values[":f"] = "source", {"S": "agent"}
    extra = rng.random()
    if extra < 0.15:
        request["ProjectionExpression"] = "server_id, metrics.metric_1"
    elif extra < 0.3:
        request["Select"] = rng.choice(["COUNT", "ALL_ATTRIBUTES"])
    if rng.random() < 0.2:
        request["ReturnConsumedCapacity"] = "INDEXES"
    return request | {"ExpressionAttributeNames": names, "ExpressionAttributeValues": values}


def query_all_pages(both: Call, request: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    status, answer = both("Query", request)
    while status == 200:
        found += answer.get("Items", [])
        if "LastEvaluatedKey" not in answer:
            break
        status, answer = both("Query", request | {"ExclusiveStartKey": answer["LastEvaluatedKey"]})
    return found


@pytest.mark.parametrize("seed", range(4))
def test_any_mix_of_writes_and_queries_gets_the_answers_of_the_unpatched_emulator(both: Call, seed: int) -> None:
    rng = random.Random(seed)
    answered = 0
    for _ in range(60):
        for _ in range(6):
            both(*random_write(rng))
        for _ in range(4):
            answered += len(query_all_pages(both, random_query(rng)))
    both("Scan", {"TableName": "observations", "Limit": 20})
    both("DescribeTable", {"TableName": "nowhere"})
    assert answered > 500


@pytest.mark.parametrize(
    "change",
    [
        {"KeyConditionExpression": "group = :h"},  # a reserved word
        {"KeyConditionExpression": "#h = :h AND labels = :a"},
        {"KeyConditionExpression": "#h = :h AND group_sort BETWEEN :z AND :a"},
        {"KeyConditionExpression": "#h = :h OR group_sort = :a"},
        {"KeyConditionExpression": "#h = :h AND begins_with(group_sort, :h)"},
        {"KeyConditionExpression": "#h > :h AND group_sort > :a"},
        {"KeyConditionExpression": "#h = :undefined"},
        {"KeyConditionExpression": "#h = :h AND #h = :h"},
        {"KeyConditionExpression": "((#h = :h))"},
        {"KeyConditionExpression": ""},
        {"ExpressionAttributeValues": {":h": {"S": "0"}, ":a": {"S": "2026"}, ":z": {"S": "2027"}}},
        {"ExpressionAttributeValues": {":h": {"N": "00"}, ":a": {"S": "2026"}, ":z": {"S": "2027"}}},
        {"ExpressionAttributeValues": {":h": {"N": "x"}, ":a": {"S": "2026"}, ":z": {"S": "2027"}}},
        {"ExclusiveStartKey": {"group": {"N": "0"}}},
        {
            "ExclusiveStartKey": {
                "group": {"N": "0"},
                "group_sort": {"S": "1999"},
                "server_id": {"S": "server-1"},
                "observed_at": {"S": "1999"},
            }
        },
        {"IndexName": "by-nothing"},
        {"TableName": "nowhere"},
        {"Limit": 0},
        {"ExpressionAttributeValues": {":h": {"N": []}, ":a": {"S": 5}}},
        {"ExpressionAttributeValues": {":h": {"N": "0"}, ":a": {}}},
        {"ConsistentRead": True},
        {"Select": "SPECIFIC_ATTRIBUTES"},
        {"FilterExpression": "size(", "Limit": 3},
    ],
)
def test_a_faulty_request_gets_the_same_error(both: Call, change: dict[str, Any]) -> None:
    rng = random.Random(7)
    for _ in range(20):
        both("PutItem", {"TableName": "observations", "Item": observation(rng)})
    request = {
        "TableName": "observations",
        "IndexName": "by-group",
        "KeyConditionExpression": "#h = :h AND group_sort > :a",
        "ExpressionAttributeNames": {"#h": "group"},
        "ExpressionAttributeValues": {":h": {"N": "0"}, ":a": {"S": "2026"}},
    }
    request |= change
    if ":z" in request["KeyConditionExpression"]:
        request["ExpressionAttributeValues"][":z"] = {"S": "2027"}
    both("Query", request)


def number_texts() -> list[Any]:
    rng = random.Random(3)
    texts: list[Any] = [*NUMBERS, "", " 1", "1\n", "1\n2", "1_0", "nan", "٣", "1e126", "1e-131", "9" * 39, None, 5]
    texts += ["-", "-00.5", "12.0", "-7.0", "0.0", "-0.0", "100.0", "1.00", ".0", "1..0", "1.50"]
    texts += [f"{rng.choice(['', '-'])}{rng.randrange(10 ** rng.randrange(1, 22))}" for _ in range(100)]
    return texts + [repr(rng.uniform(-1, 1) * 10 ** rng.randrange(-6, 12)) for _ in range(200)]


def test_a_batch_keeps_every_number_as_the_unpatched_emulator_does(
    both: Call, modules: tuple[ModuleType, ModuleType]
) -> None:
    for n, text in enumerate(number_texts()):
        at = f"{n:04d}"
        key = {"server_id": {"S": "server-1"}, "observed_at": {"S": at}}
        item = key | {
            "group": {"N": "0"},
            "group_sort": {"S": at},
            "metrics": {"M": {"ä": {"N": text}}},
            "t": {"N": "5.0"},
        }
        status, _ = both("BatchWriteItem", {"RequestItems": {"observations": [{"PutRequest": {"Item": item}}]}})
        stored = both("GetItem", {"TableName": "observations", "Key": key})[1].get("Item")
        assert (status == 200) == (stored is not None), text
        if stored:
            number = stored["metrics"]["M"]["ä"]["N"]
            if len(number) <= 38:
                assert number_bytes(number) == modules[0]._number_size_bytes(number), number
            kept = modules[1]._tables.get("observations")["items"]["server-1"].size_bytes(at)
            assert kept == modules[0]._item_size_bytes(stored), text


@pytest.mark.parametrize(
    "change",
    [
        {"server_id": {"S": ""}},
        {"server_id": {"N": "1"}},
        {"server_id": {"S": "s" * 2049}},
        {"observed_at": {"S": "o" * 1025}},
        {"group": {"S": "0"}},
        {"group_sort": {"S": ""}},
        {"metrics": {"M": {"m": {"N": "1", "S": "1"}}}},
        {"metrics": {"M": {"m": {"M": {"n": {"N": "1.0"}}}}}},
        {"metrics": {"M": {"m": {"X": "1"}}}},
        {"metrics": {"M": []}},
        {"metrics": {}},
        {"metrics": {"S": 5}},
        {"labels": {"S": "x" * 400_001}},
        {"labels": {"SS": ["a", "a"]}},
        {"labels": {"NULL": True}},
    ],
)
def test_a_batch_with_an_odd_item_is_answered_as_ever(both: Call, change: dict[str, Any]) -> None:
    plain = {"server_id": {"S": "server-1"}, "observed_at": {"S": "1"}, "metrics": {"M": {"m": {"N": "2.0"}}}}
    puts = [{"PutRequest": {"Item": plain | {"observed_at": {"S": "2"}}}}, {"PutRequest": {"Item": plain | change}}]
    both("BatchWriteItem", {"RequestItems": {"observations": puts}})
    both("BatchWriteItem", {"RequestItems": {"observations": [puts[0], puts[0]]}})
    both("BatchWriteItem", {"RequestItems": {"observations": [puts[0], {"DeleteRequest": {"Key": key_of(plain)}}]}})
    both("BatchWriteItem", {"RequestItems": {"observations": []}})
    both("BatchWriteItem", {"RequestItems": {"nowhere": puts[:1]}})
    many = [{"PutRequest": {"Item": plain | {"observed_at": {"S": str(n)}}}} for n in range(26)]
    both("BatchWriteItem", {"RequestItems": {"observations": many}})
    both("BatchWriteItem", {"RequestItems": {"observations": many[:25]}})
    both("Scan", {"TableName": "observations"})


def large_observation(n: int) -> dict[str, Any]:
    at = f"2026-11-22T{n // 60:02d}:{n % 60:02d}:00.000Z"
    return {
        "server_id": {"S": "server-1"},
        "observed_at": {"S": at},
        "group": {"N": "0"},
        "group_sort": {"S": f"{at}#server-1"},
        "source": {"S": "é" * 1500},
        "metrics": {"M": {f"metric_{i}": {"N": f"{n}.{i}5"} for i in range(38)}},
    }


@pytest.mark.parametrize("index", ["by-group", None])
@pytest.mark.parametrize("filtered", [False, True])
def test_a_page_ends_at_one_megabyte(both: Call, index: str | None, filtered: bool) -> None:
    for n in range(400):
        both("PutItem", {"TableName": "observations", "Item": large_observation(n)})
    hash_name, value = ("group", {"N": "0"}) if index else ("server_id", {"S": "server-1"})
    request: dict[str, Any] = {
        "TableName": "observations",
        "KeyConditionExpression": "#h = :h",
        "ExpressionAttributeNames": {"#h": hash_name},
        "ExpressionAttributeValues": {":h": value},
    }
    if index:
        request["IndexName"] = index
    if filtered:
        request["FilterExpression"] = "begins_with(observed_at, :f)"
        request["ExpressionAttributeValues"][":f"] = {"S": "2026-11-22T0"}
    _, answer = both("Query", request)
    assert 0 < answer["ScannedCount"] < 400
    assert len(query_all_pages(both, request)) == 400


def test_a_query_works_on_its_answer_and_not_on_the_partition(
    modules: tuple[ModuleType, ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The point of the exercise, counted instead of timed."""
    fast = modules[1]
    call = caller(fast)
    for n in range(300):
        assert call("PutItem", {"TableName": "observations", "Item": large_observation(n)})[0] == 200
    request = {
        "TableName": "observations",
        "IndexName": "by-group",
        "KeyConditionExpression": "#g = :g AND group_sort >= :s",
        "ExpressionAttributeNames": {"#g": "group"},
        "ExpressionAttributeValues": {":g": {"N": "0"}, ":s": {"S": "2026-11-22T04:50"}},
    }
    assert call("Query", request)[1]["Count"] == 10  # the first Query builds the index
    counts = {"evaluated": 0, "decoded": 0}
    evaluate, decode = fast._condition_syntax_error, stored_items._decoded

    def counting_evaluate(*args: Any, **kwargs: Any) -> Any:
        counts["evaluated"] += 1
        return evaluate(*args, **kwargs)

    def counting_decode(*stored: Any) -> Any:
        counts["decoded"] += 1
        return decode(*stored)

    monkeypatch.setattr(fast, "_condition_syntax_error", counting_evaluate)
    monkeypatch.setattr(stored_items, "_decoded", counting_decode)
    assert call("Query", request)[1]["Count"] == 10
    assert counts == {"evaluated": 1, "decoded": 1}


def test_an_index_created_later_holds_the_items_already_there_and_odd_keys_fall_back(
    both: Call, modules: tuple[ModuleType, ModuleType]
) -> None:
    rng = random.Random(5)
    for _ in range(40):
        both("PutItem", {"TableName": "observations", "Item": observation(rng)})
    odd = observation(rng) | {"kind": {"M": {"not": {"S": "a key"}}}, "rank": {"S": "no number"}}
    both("PutItem", {"TableName": "observations", "Item": odd})
    creations = (("by-source", ["source", "observed_at"]), ("by-odd-rank", ["source", "rank"]))
    for name, keys in creations:
        update = {
            "TableName": "observations",
            "AttributeDefinitions": [
                *TABLE["AttributeDefinitions"],  # type: ignore[misc]
                {"AttributeName": "source", "AttributeType": "S"},
                {"AttributeName": "rank", "AttributeType": "N"},
            ],
            "GlobalSecondaryIndexUpdates": [
                {
                    "Create": {
                        "IndexName": name,
                        "KeySchema": [
                            {"AttributeName": k, "KeyType": t} for k, t in zip(keys, ("HASH", "RANGE"), strict=True)
                        ],
                        "Projection": {"ProjectionType": "ALL"},
                    }
                }
            ],
        }
        for module in modules:  # the answers differ in the table ids
            assert caller(module)("UpdateTable", update)[0] == 200
    for _ in range(30):
        both(*random_write(rng))
        for name, _ in creations:
            query_all_pages(
                both,
                {
                    "TableName": "observations",
                    "IndexName": name,
                    "KeyConditionExpression": "#k = :k",
                    "ExpressionAttributeNames": {"#k": "source"},
                    "ExpressionAttributeValues": {":k": {"S": "agent"}},
                    "Limit": 7,
                },
            )


def test_expired_items_leave_the_table_and_its_index(modules: tuple[ModuleType, ModuleType]) -> None:
    fast = modules[1]
    call = caller(fast)
    for n in range(10):
        expires_at = {"expires_at": {"N": str(1000 + n)}}
        call("PutItem", {"TableName": "observations", "Item": large_observation(n) | expires_at})
    call("PutItem", {"TableName": "observations", "Item": large_observation(10)})
    ttl = {"Enabled": True, "AttributeName": "expires_at"}
    assert call("UpdateTimeToLive", {"TableName": "observations", "TimeToLiveSpecification": ttl})[0] == 200
    request = {
        "TableName": "observations",
        "IndexName": "by-group",
        "KeyConditionExpression": "#g = :g",
        "ExpressionAttributeNames": {"#g": "group"},
        "ExpressionAttributeValues": {":g": {"N": "0"}},
    }
    assert call("Query", request)[1]["Count"] == 11

    run_ttl_reaper_once(fast, now=1004.0)

    assert call("Query", request)[1]["Count"] == 6
    assert call("Scan", {"TableName": "observations"})[1]["Count"] == 6


def run_ttl_reaper_once(module: ModuleType, *, now: float) -> None:
    class FinishedError(Exception):
        pass

    pauses = iter([None])

    def sleep(_: float) -> None:
        if next(pauses, FinishedError) is FinishedError:
            raise FinishedError

    module.time = SimpleNamespace(sleep=sleep, time=lambda: now)  # type: ignore[attr-defined]
    with pytest.raises(FinishedError):
        module._ttl_reaper()


def test_a_restored_backup_holds_equal_items(both: Call, modules: Any) -> None:
    rng = random.Random(11)
    for _ in range(30):
        both("PutItem", {"TableName": "observations", "Item": observation(rng)})
    plain, fast = modules
    for module in modules:
        call = caller(module)
        arn = call("CreateBackup", {"TableName": "observations", "BackupName": "copy"})[1]["BackupDetails"]["BackupArn"]
        call("DeleteItem", {"TableName": "observations", "Key": key_of(observation(random.Random(1)))})
        assert call("RestoreTableFromBackup", {"TargetTableName": "restored", "BackupArn": arn})[0] == 200
    scans = [caller(module)("Scan", {"TableName": "restored"})[1] for module in (plain, fast)]
    assert scans[0] == scans[1]


def test_items_written_before_the_installation_stay_readable_and_writable() -> None:
    module = private_copy("late_dynamodb")
    call = caller(module)
    call("CreateTable", TABLE)
    for n in range(6):
        call("PutItem", {"TableName": "observations", "Item": large_observation(n)})
    dynamodb_install.install(module)
    call("PutItem", {"TableName": "observations", "Item": large_observation(6)})
    call("DeleteItem", {"TableName": "observations", "Key": key_of(large_observation(2))})
    request = {
        "TableName": "observations",
        "KeyConditionExpression": "server_id = :s",
        "ExpressionAttributeValues": {":s": {"S": "server-1"}},
    }
    assert call("Query", request)[1]["Items"] == [large_observation(n) for n in (0, 1, 3, 4, 5, 6)]


def test_another_emulator_version_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dynamodb_install, "version", lambda package: "1.6.0")
    with pytest.raises(dynamodb_install.UnsupportedEmulatorError, match=r"ministack 1\.5\.33, found 1\.6\.0"):
        dynamodb_install.install(private_copy("other_dynamodb"))


def test_installing_twice_changes_nothing(modules: tuple[ModuleType, ModuleType]) -> None:
    fast = modules[1]
    query = fast._query
    dynamodb_install.install(fast)
    assert fast._query == query
