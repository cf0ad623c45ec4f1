"""A command that names a profile works on that profile's stacks, and on no other's."""

from unittest.mock import MagicMock

import pytest
from botocore.exceptions import ClientError

from cli.deployment import DeployedStage, further_profile, stack_output
from cli.main import run
from treeline.core.errors import UsageError

STACKS = {
    "treeline-prod-learning": {"ModelGroup": "treeline-prod-web", "PipelineName": "treeline-prod-web"},
    "treeline-prod-learning-batch": {"ModelGroup": "treeline-prod-batch", "PipelineName": "treeline-prod-batch"},
    "treeline-prod-state": {"IncidentsTable": "servers-incidents"},
    "treeline-prod-detection": {},
    "treeline-prod-state-batch": {"IncidentsTable": "batch-incidents"},
    "treeline-prod-detection-batch": {},
}


def client(service: str) -> MagicMock:
    """CloudFormation with two profiles' stacks, of which the servers' is called web."""
    if service != "cloudformation":
        return MagicMock(spec=[])  # nothing may be asked of it

    def describe_stacks(StackName: str) -> dict[str, object]:  # noqa: N803 -- boto3's name
        if StackName not in STACKS:
            raise ClientError({"Error": {"Code": "ValidationError", "Message": "does not exist"}}, "DescribeStacks")
        told = [{"OutputKey": key, "OutputValue": value} for key, value in STACKS[StackName].items()]
        return {"Stacks": [{"StackStatus": "CREATE_COMPLETE", "Outputs": told}]}

    return MagicMock(describe_stacks=describe_stacks)


@pytest.mark.parametrize(("named", "meant"), [("", ""), ("web", ""), ("batch", "batch")])
def test_the_servers_profile_may_be_called_by_its_name_too(named: str, meant: str):
    assert further_profile(client, "prod", named) == meant
    assert stack_output(client, "prod", "learning", "ModelGroup", meant) == f"treeline-prod-{named or 'web'}"


def test_a_profile_that_is_not_deployed_is_named():
    with pytest.raises(UsageError, match="no stack treeline-prod-learning-logs in this account and region"):
        stack_output(client, "prod", "learning", "ModelGroup", further_profile(client, "prod", "logs"))


@pytest.mark.parametrize(("named", "table"), [("", "servers"), ("web", "servers"), ("batch", "batch")])
def test_incidents_are_those_of_the_profile(named: str, table: str):
    session = MagicMock(client=lambda service, **_: client(service))
    assert DeployedStage("prod", session, profile=named).output("IncidentsTable") == f"{table}-incidents"


@pytest.mark.parametrize("command", ["model promote v", "model rollback", "model list", "model runs", "model train"])
def test_every_command_on_models_says_where_there_is_no_such_profile(command: str, monkeypatch: pytest.MonkeyPatch):
    session = MagicMock(client=client)
    monkeypatch.setattr("boto3.session.Session", lambda: session)

    with pytest.raises(UsageError, match=r"no stack treeline-prod-\w+-logs"):
        run([*command.split(), "--stage", "prod", "--profile", "logs"])
