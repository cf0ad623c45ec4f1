"""A change that would replace a stateful resource, and so lose or orphan its data, does not pass unnoticed.

CloudFormation replaces a resource when its logical id changes or a property that cannot be changed in place does.
Both stand in stateful.json; `python -m tests.infra.test_replacement` writes it anew, for a change that is meant.
"""

import copy
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from stacks.synthesize import synthesize
from tests.infra.templates import Stage
from treeline.settings import outputs

GUARDED = Path(__file__).with_name("stateful.json")
# Type -> properties whose change means replacement (CloudFormation's reference, "Update requires: Replacement").
IMMUTABLE: dict[str, tuple[str, ...]] = {
    "AWS::DynamoDB::GlobalTable": ("TableName", "KeySchema", "LocalSecondaryIndexes"),
    "AWS::Kinesis::Stream": ("Name",),
    "AWS::S3::Bucket": ("BucketName",),
    "AWS::KMS::Key": ("KeySpec", "KeyUsage", "MultiRegion"),
    "AWS::SecretsManager::Secret": ("Name",),
    "AWS::SNS::Topic": ("TopicName", "FifoTopic"),
    "AWS::SQS::Queue": ("QueueName", "FifoQueue"),
    "AWS::SageMaker::ModelPackageGroup": ("ModelPackageGroupName", "ModelPackageGroupDescription"),
}


def stateful(templates: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """`part/logical id` -> type and immutable properties of every resource that holds something."""
    found = {}
    for part, template in templates.items():
        for id_, resource in sorted(template["Resources"].items()):
            kind, properties = resource["Type"], resource.get("Properties", {})
            if kind in IMMUTABLE:
                kept = {name: properties[name] for name in IMMUTABLE[kind] if name in properties}
                found[f"{part}/{id_}"] = {"type": kind, **kept}
    return found


def replaced(guarded: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Guarded resources that are gone or would be made anew."""
    return [key for key, what in guarded.items() if now.get(key) != what]


def _templates(stage: Stage) -> dict[str, dict[str, Any]]:
    return {part: stage.template(part) for part in outputs.PARTS}


def _guarded() -> dict[str, Any]:
    return json.loads(GUARDED.read_text(encoding="utf-8"))


def test_no_stateful_resource_would_be_replaced(stage: Stage):
    lost = replaced(_guarded(), stateful(_templates(stage)))

    assert lost == [], "meant? say so in docs/upgrade.md and run: python -m tests.infra.test_replacement"


def test_every_stateful_resource_is_guarded(stage: Stage):
    assert set(stateful(_templates(stage))) - set(_guarded()) == set(), "run: python -m tests.infra.test_replacement"


def test_a_renamed_table_is_noticed(stage: Stage):
    templates = copy.deepcopy(_templates(stage))
    state = templates[outputs.STATE]["Resources"]
    (table,) = [id_ for id_ in state if id_.startswith("Observations")]
    state["Measurements" + table[-8:]] = state.pop(table)

    assert replaced(_guarded(), stateful(templates)) == [f"state/{table}"]


def test_a_changed_key_is_noticed(stage: Stage):
    templates = copy.deepcopy(_templates(stage))
    state = templates[outputs.STATE]["Resources"]
    (table,) = [id_ for id_ in state if id_.startswith("Observations")]
    state[table]["Properties"]["KeySchema"][0]["AttributeName"] = "host"

    assert replaced(_guarded(), stateful(templates)) == [f"state/{table}"]


def test_a_name_given_by_hand_is_noticed(stage: Stage):
    templates = copy.deepcopy(_templates(stage))
    ingestion = templates[outputs.INGESTION]["Resources"]
    (stream,) = [id_ for id_, r in ingestion.items() if r["Type"] == "AWS::Kinesis::Stream"]
    ingestion[stream]["Properties"]["Name"] = "observations"

    assert replaced(_guarded(), stateful(templates)) == [f"ingestion/{stream}"]


def main() -> int:
    """Write the guard anew."""
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage("prod", synthesize(Path(folder), "prod", asset_platform="host"))
        GUARDED.write_text(json.dumps(stateful(_templates(stage)), indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
