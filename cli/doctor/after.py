"""What must be there after a deployment: stacks, subscribers, a key, a model, an endpoint, calm alarms, right units."""

import time
from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from cli.deployment import stack_outputs
from cli.doctor.before import Clients
from cli.doctor.checks import Check, Finding, ok, todo
from cli.doctor.groups import fleet_level
from cli.doctor.units import percent_values
from cli.threshold_screen import told
from stacks.config.stage import StageConfig
from treeline.aws.detect.overrides import OverrideTable
from treeline.aws.learn.artifacts import ModelArtifacts
from treeline.aws.widgets.pointers import model_pointers
from treeline.settings import outputs

Deployed = dict[str, tuple[str, dict[str, str]]]  # part -> status and outputs of its stack
_GOOD = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE")


def checks(stage: StageConfig, client: Clients, found: Deployed) -> Iterator[Check]:
    """The stacks' outputs; nothing where one of the stacks is missing."""
    if any(status not in _GOOD for status, _ in found.values()) or len(found) < len(stage.parts):
        return
    told = found[outputs.ALERTING][1]
    alerts, operations = told[outputs.ALERTS_TOPIC_ARN], told[outputs.OPERATIONS_TOPIC_ARN]
    yield Check("subscribers of alerts", lambda: subscribers(client, alerts))
    yield Check("subscribers of operations", lambda: subscribers(client, operations))
    if outputs.ROUTING_KEY_SECRET_ARN in told:
        yield Check("PagerDuty's key", lambda: routing_key(client, told[outputs.ROUTING_KEY_SECRET_ARN]))
    for profile in stage.all_profiles:
        yield from _of_profile(profile, client, found)
    yield Check("alarms", lambda: alarms(client, stage))


def _of_profile(profile: StageConfig, client: Clients, found: Deployed) -> Iterator[Check]:
    parts = [outputs.part_of(part, profile.further) for part in outputs.OF_PROFILE]
    told = {key: value for part in parts for key, value in found[part][1].items()}
    whose = f" of {profile.further}" if profile.further else ""
    yield Check(f"model{whose}", lambda: model(client, told[outputs.CONTROLS_TABLE], profile))
    yield Check(f"thresholds{whose}", lambda: thresholds(client, told[outputs.CONTROLS_TABLE]))
    if profile.is_embedded:
        yield Check(f"forest{whose}", lambda: forest(client, told[outputs.CONTROLS_TABLE]))
    else:
        yield Check(f"endpoint{whose}", lambda: endpoint(client, profile.endpoint_name))
    yield Check(f"servers{whose}", lambda: servers(client, told[outputs.SERVERS_TABLE], told[outputs.STREAM_NAME]))
    if profile.detection.policy.fleet_min_servers:
        known = told[outputs.SERVERS_TABLE]
        yield Check(f"fleet level{whose}", lambda: fleet_level(registered(client, known), profile))
    observations, now_ms = told[outputs.OBSERVATIONS_TABLE], time.time_ns() // 1_000_000
    yield Check(f"units{whose}", lambda: percent_values(client("dynamodb"), observations, profile, now_ms))


def deployed(stage: StageConfig, client: Clients) -> Deployed:
    """Part -> status and outputs of each stack that exists."""
    names = {part: outputs.stack_name(stage.stage, part) for part in stage.parts}
    found = {part: stack_outputs(client("cloudformation"), name) for part, name in names.items()}
    return {part: stack for part, stack in found.items() if stack is not None}


def stacks(stage: StageConfig, found: Deployed) -> Finding:
    """All parts there, and none half done."""
    missing = [part for part in stage.parts if part not in found]
    bad = [f"{part}: {status}" for part, (status, _) in found.items() if status not in _GOOD]
    deploy = f"npx aws-cdk@2.1148.1 deploy --all -c stage={stage.stage}"
    if missing:
        return todo(f"not deployed: {', '.join(missing)}", deploy)
    if bad:
        return todo("; ".join(bad), f"read the stack's events in CloudFormation, then {deploy}")
    return ok(f"{len(found)} of {len(stage.parts)}")


def subscribers(client: Clients, arn: str) -> Finding:
    """Whether the topic has a subscriber who has confirmed."""
    found: list[dict[str, Any]] = client("sns").list_subscriptions_by_topic(TopicArn=arn)["Subscriptions"]
    pending = [s["Endpoint"] for s in found if s["SubscriptionArn"].lower().replace(" ", "") == "pendingconfirmation"]
    subscribe = (
        f"aws sns subscribe --topic-arn {arn} --protocol email --notification-endpoint YOU, then confirm by mail"
    )
    if pending:
        return todo(f"unconfirmed: {', '.join(pending)}", "follow the link in AWS's mail to each address")
    if not found:
        return todo("nobody", subscribe)
    return ok(f"{len(found)} ({', '.join(sorted({s['Protocol'] for s in found}))})")


def routing_key(client: Clients, arn: str) -> Finding:
    """The secret has a value; it is looked at for being there, never shown."""
    manager = client("secretsmanager")
    try:
        is_empty = not manager.get_secret_value(SecretId=arn).get("SecretString", "").strip()
    except manager.exceptions.ResourceNotFoundException:  # a secret without any version
        is_empty = True
    if is_empty:
        do = f"aws secretsmanager put-secret-value --secret-id {arn} --secret-string INTEGRATION_KEY"
        return todo("the secret is empty: nobody is paged", do)
    return ok("there is one")


def model(client: Clients, table: str, stage: StageConfig) -> Finding:
    """A model decides."""
    active = model_pointers(client("dynamodb"), table).get("active")
    if active is None:
        of_profile = f" --profile {stage.further}" if stage.further else ""
        do = f"history, then training: treeline history --help, treeline model train --stage {stage.stage}{of_profile}"
        return todo("none yet: observations are stored and wait", do)
    return ok(active.get("model_version", "?"))


def thresholds(client: Clients, table: str) -> Finding:
    """Whose thresholds, policy and forest settings count."""
    dynamodb = client("dynamodb")
    active = model_pointers(dynamodb, table).get("active", {}).get("model_version", "")
    return ok(told(OverrideTable(dynamodb, table).current(), active))


def forest(client: Clients, table: str) -> Finding:
    """What detect scores with, where it asks no endpoint, is there."""
    active = model_pointers(client("dynamodb"), table).get("active")
    if active is None:
        return todo("none yet", "it comes with the first model")
    url = active.get("model_data_url", "")
    if not url:
        do = f"treeline model promote {active['model_version']}: it was made active for an endpoint"
        return todo("the active model does not say where its forest is", do)
    if not ModelArtifacts(client("s3"), "").exists(url):
        return todo(f"nothing at {url}", "put it back, or treeline model rollback")
    return ok(url)


def endpoint(client: Clients, name: str) -> Finding:
    """It answers."""
    try:
        status = client("sagemaker").describe_endpoint(EndpointName=name)["EndpointStatus"]
    except ClientError as error:
        if "Could not find" in str(error) or "not found" in str(error).lower():
            return todo(f"no endpoint {name}", "promotion makes it with the first approved model")
        raise
    if status not in ("InService", "Updating"):
        return todo(f"{name} is {status}", "docs/runbooks/scorer-unavailable.md")
    return ok(f"{name} is {status}")


def registered(client: Clients, table: str) -> int:
    """How many servers ever registered."""
    item = client("dynamodb").get_item(TableName=table, Key={"server_id": {"S": "#counter"}}).get("Item")
    return int(item["next_number"]["N"]) if item else 0


def servers(client: Clients, table: str, stream: str) -> Finding:
    """Something arrives."""
    count = registered(client, table)
    if not count:
        return todo("none has reported", f"send observations to the stream {stream}: docs/deploy.md")
    return ok(f"{count} registered")


def alarms(client: Clients, stage: StageConfig) -> Finding:
    """None of this stage is in alarm."""
    prefix = f"treeline-{stage.stage}-"
    ringing = [
        alarm["AlarmName"].removeprefix(prefix)
        for page in client("cloudwatch").get_paginator("describe_alarms").paginate(StateValue="ALARM")
        for alarm in page.get("MetricAlarms", ())
        if alarm["AlarmName"].startswith(prefix)
    ]
    if ringing:
        return todo(f"{len(ringing)} in alarm: {', '.join(ringing[:5])}", "each names its page in docs/runbooks")
    return ok("none rings")
