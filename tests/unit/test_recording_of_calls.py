"""From API calls to the permissions they need."""

import json
from pathlib import Path

import pytest

from emulator.permissions.calls import CallLog, state_machine_call
from emulator.permissions.iam_actions import UnknownCallError, permissions


def _needed(service: str, operation: str, **parameters: object) -> list[tuple[str, ...]]:
    return [tuple(p) for p in permissions(service, operation, parameters)]


def test_a_transaction_needs_what_its_items_need():
    items = [{"Put": {"TableName": "a"}}, {"Update": {"TableName": "b"}}, {"ConditionCheck": {"TableName": "b"}}]

    assert _needed("dynamodb", "TransactWriteItems", TransactItems=items) == [
        ("dynamodb:PutItem", "a", ""),
        ("dynamodb:UpdateItem", "b", ""),
        ("dynamodb:ConditionCheckItem", "b", ""),
    ]


def test_an_index_is_a_resource_of_its_own():
    assert _needed("dynamodb", "Query", TableName="t", IndexName="by-group") == [
        ("dynamodb:Query", "t", "/index/by-group")
    ]


@pytest.mark.parametrize(
    ("service", "operation", "parameters", "wanted"),
    [
        ("sqs", "SendMessageBatch", {"QueueUrl": "http://h/1/q"}, ("sqs:SendMessage", "q", "")),
        ("s3", "PutObject", {"Bucket": "b", "Key": "quarantine/2026/x"}, ("s3:PutObject", "b", "/quarantine/*")),
        ("s3", "ListObjectsV2", {"Bucket": "b"}, ("s3:ListBucket", "b", "")),
        ("sns", "Publish", {"TopicArn": "arn:aws:sns:r:1:t"}, ("sns:Publish", "t", "")),
        ("lambda", "Invoke", {"FunctionName": "arn:aws:lambda:r:1:function:f"}, ("lambda:InvokeFunction", "f", "")),
    ],
)
def test_batches_and_synonyms_are_known_by_the_action_iam_has(service, operation, parameters, wanted):
    assert _needed(service, operation, **parameters) == [wanted]


def test_a_role_that_is_handed_on_must_be_passed():
    found = _needed("sagemaker", "CreateTrainingJob", TrainingJobName="j", RoleArn="arn:aws:iam::1:role/r")

    assert ("iam:PassRole", "r", "") in found


def test_a_call_nobody_thought_of_is_noted_as_unknown_and_fails_the_proof(tmp_path: Path):
    with pytest.raises(UnknownCallError):
        _needed("glacier", "UploadArchive")
    log = CallLog(tmp_path)
    log.add("function:f", "glacier", "UploadArchive", {})
    log.add("function:f", "glacier", "UploadArchive", {})

    (file,) = tmp_path.glob("calls-*.jsonl")
    (line,) = file.read_text().splitlines()
    assert json.loads(line)["action"] == "unknown"


def test_a_state_machines_task_is_a_call_of_its_service():
    assert state_machine_call("arn:aws:states:::aws-sdk:sagemaker:updateEndpoint") == ("sagemaker", "UpdateEndpoint")
    assert state_machine_call("arn:aws:states:::lambda:invoke") == ("lambda", "Invoke")
    assert state_machine_call("arn:aws:lambda:r:1:function:f") is None
