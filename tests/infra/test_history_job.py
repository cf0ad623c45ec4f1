"""The Batch job of the history fetch, synthesized alone."""

import json

import aws_cdk as cdk
import pytest
from aws_cdk import aws_s3 as s3
from aws_cdk.assertions import Match, Template

from stacks.constructs.history_job import HistoryJob


@pytest.fixture(scope="module")
def template() -> Template:
    stack = cdk.Stack(cdk.App(), "History")
    bucket = s3.Bucket(stack, "TrainingData")
    HistoryJob(
        stack,
        "HistoryJob",
        training_data=bucket,
        image="111122223333.dkr.ecr.us-east-1.amazonaws.com/treeline:latest",
        days=182,
        removal_policy=cdk.RemovalPolicy.DESTROY,
    )
    return Template.from_stack(stack)


def test_it_runs_on_spot_and_starts_again_when_the_machine_is_taken_away(template: Template) -> None:
    template.has_resource_properties(
        "AWS::Batch::ComputeEnvironment", {"ComputeResources": Match.object_like({"Type": "FARGATE_SPOT"})}
    )
    template.has_resource_properties("AWS::Batch::JobDefinition", {"RetryStrategy": {"Attempts": 5}})


def test_it_fetches_into_the_training_bucket_without_asking_anybody(template: Template) -> None:
    (definition,) = template.find_resources("AWS::Batch::JobDefinition").values()
    command = definition["Properties"]["ContainerProperties"]["Command"]
    words = [word for word in command if isinstance(word, str)]
    assert words[:5] == ["python", "-m", "treeline", "history", "fetch"]
    assert "/history" in json.dumps(command)


def test_it_may_read_metrics_and_write_history_and_nothing_else(template: Template) -> None:
    allowed = {
        action
        for policy in template.find_resources("AWS::IAM::Policy").values()
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        for action in (statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]])
    }
    assert {action for action in allowed if not action.startswith(("ecr:", "logs:"))} == {
        "cloudwatch:GetMetricData",
        "cloudwatch:ListMetrics",
        "ec2:DescribeInstances",
        "s3:DeleteObject",
        "s3:GetObject",
        "s3:ListBucket",
        "s3:PutObject",
    }


def test_its_network_costs_nothing_by_the_hour(template: Template) -> None:
    template.resource_count_is("AWS::EC2::NatGateway", 0)
    template.has_resource_properties("AWS::EC2::VPCEndpoint", {"VpcEndpointType": "Gateway"})
