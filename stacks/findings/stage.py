"""What cdk-nag's AwsSolutions pack finds in our templates and we leave as it is, each with its reason.

`cdk synth -c nag=true` runs the pack; a finding that does not stand here makes it fail, and so does the test.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import aws_cdk as cdk
from constructs import IConstruct

from stacks.config.stage import StageConfig
from stacks.findings import learning as learning_findings
from stacks.findings import promotion as promotion_findings
from treeline.settings import outputs


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """One finding at one construct."""

    rule: str
    construct: str  # path below the app
    reason: str


_NETWORK_INTERFACES = (
    "Lambda makes the function's network interfaces with these actions; most of them have no resource type."
)
_LATEST_RUNTIME = (
    "python3.13 is supported until 2029-06, and every package we carry has arm64 wheels for it; "
    "moving on is one constant and the pins."
)
_ACCESS_LOGS = (
    "Written by one function and read by few roles of this account. Who wants each access on record "
    "switches on CloudTrail data events, which need no second bucket."
)

# Rules of the Serverless pack that ask for another design than ours, wherever they ask.
EVERYWHERE = {
    "Serverless-LambdaLatestVersion": _LATEST_RUNTIME,
    "Serverless-LambdaTracing": (
        "Every alert carries its clocks and every function writes its durations; X-Ray would add a price per record."
    ),
    "Serverless-LambdaDLQ": (
        "A function's own dead-letter queue sees asynchronous invocations only. Ours are invoked by queues and the "
        "stream, whose failures have queues of their own; by events that happen once, which an on-failure destination "
        "keeps; or by schedules, whose next run does the same work."
    ),
    "Serverless-LambdaAsyncFailureDestination": (
        "A missed run of a schedule is not made up: the next one, a minute later, does the same work; an alarm counts."
    ),
    "Serverless-LambdaEventSourceMappingDestination": (
        "A queue's failed messages go to the queue's own dead-letter queue; destinations are for streams."
    ),
    "Serverless-SQSRedrivePolicy": "These queues are the dead-letter queues; each has an alarm at its first message.",
}


# long: a list of findings, each with its reason
def acknowledged(config: StageConfig) -> Iterator[Acknowledged]:
    """The findings of one stage, or of one of its further profiles, that stay."""

    def at(part: str, path: str) -> str:
        of_profile = part if part == outputs.ALERTING else outputs.part_of(part, config.further)
        return f"Treeline-{config.stage}-{of_profile}/{path}/Resource"

    def objects_of(bucket_output: str, below: str) -> str:
        state = outputs.stack_name(config.stage, outputs.STATE, config.further)
        source = f'"StackName":"{state}","Region":"{config.region}"'
        resource = f'{{"Fn::GetStackOutput":{{{source},"OutputName":"{bucket_output}"}}}}/{below}'
        return f"AwsSolutions-IAM5[Resource::{resource}]"

    for part, function in _functions(config):
        yield Acknowledged("AwsSolutions-L1", at(part, f"{function}/Function"), _LATEST_RUNTIME)
        # Promotion/Step has an explanation for its `*` with and without a VPC.
        if config.network.is_on and function != "Promotion/Step":
            yield Acknowledged(
                "AwsSolutions-IAM5[Resource::*]", at(part, f"{function}/Role/DefaultPolicy"), _NETWORK_INTERFACES
            )
    for rule in ("Heartbeat", "Redrive"):
        yield Acknowledged(
            "Serverless-EventBusDLQ",
            at(outputs.DETECTION, rule),
            "Runs every minute: the next run does the same work, and a missed heartbeat has an alarm of its own.",
        )
    for bucket in ("Quarantine", "Models"):
        yield Acknowledged("AwsSolutions-S1", at(outputs.STATE, bucket), _ACCESS_LOGS)
    for below in ("packages/*", *(("forests/*",) if config.is_embedded else ())):
        yield Acknowledged(
            objects_of("PublishOutputFnGetAttModelsC55D3500Arn5610F0FC", below),
            at(outputs.DETECTION, "Detect/Role/DefaultPolicy"),
            "detect reads whichever model the controls table names; keys are made of its version or of its run.",
        )
    yield Acknowledged(
        objects_of("PublishOutputFnGetAttQuarantine23FF09FEArnB37EF52C", "quarantine/*"),
        at(outputs.INGESTION, "Ingest/Role/DefaultPolicy"),
        "The key of a quarantined batch is made of its time, shard and sequence number.",
    )
    yield Acknowledged(
        "AwsSolutions-SQS3",
        at(outputs.INGESTION, "UnreadBatches"),
        "It is a dead-letter queue: the on-failure destination of the stream's mapping, which nag does not see.",
    )
    models = objects_of("PublishOutputFnGetAttModelsC55D3500Arn5610F0FC", "")
    models_arn = models.removeprefix("AwsSolutions-IAM5[Resource::").removesuffix("/]")
    for finding in (*learning_findings.findings(config, models_arn), *promotion_findings.findings(config, models_arn)):
        yield Acknowledged(finding.rule, at(outputs.LEARNING, finding.path), finding.reason)
    yield Acknowledged(
        "AwsSolutions-SQS3",
        at(outputs.LEARNING, "EventsDead"),
        "It is a dead-letter queue: that of the rules and of the functions they invoke, which nag does not see.",
    )
    if config.encryption.key:
        yield Acknowledged(
            "AwsSolutions-KDS3",
            at(outputs.INGESTION, "Observations"),
            "The stage asks for a key of its own (encryption.key); it rotates, and its policy names who may use it.",
        )
    notified = config.notifications
    for part, topic, addresses in (
        (outputs.ALERTING, "Alerts", notified.alert_emails),
        (outputs.ALERTING, "Operations", notified.operations_emails),
        (outputs.LEARNING, "ModelChanges", notified.operations_emails),
    ):
        for address in addresses:
            yield Acknowledged(
                "Serverless-SNSRedrivePolicy",
                at(part, f"{topic}/{address}"),
                "Mail: what did not arrive is still to be read in AWS, and AlertsNotDelivered counts alerts.",
            )
    if config.pagerduty.enabled:
        yield Acknowledged(
            "AwsSolutions-SQS3",
            at(outputs.ALERTING, "PagesUndelivered"),
            "It is a dead-letter queue: that of the topic's subscription, which nag does not see.",
        )
        yield Acknowledged(
            "AwsSolutions-SMG4",
            at(outputs.ALERTING, "RoutingKey"),
            "PagerDuty issues the routing key and has no call to rotate it; a person replaces it there and here.",
        )


def _functions(config: StageConfig) -> Iterator[tuple[str, str]]:
    """Part and path of every function."""
    yield from ((outputs.DETECTION, name) for name in ("Dispatch", "Detect", "Reprocess"))
    yield outputs.INGESTION, "Ingest"
    yield from ((outputs.OBSERVABILITY, name) for name in ("WidgetFleet", "WidgetIncidents", "WidgetModel"))
    if config.pagerduty.enabled:
        yield outputs.ALERTING, "NotifyPagerDuty"
    learning = (*learning_findings.functions(config), *promotion_findings.FUNCTIONS)
    yield from ((outputs.LEARNING, name) for name in learning)


def acknowledge(app: cdk.App, config: StageConfig) -> None:
    """Put the explanations on their constructs; they end in the assembly's metadata, in no template."""
    for rule, reason in EVERYWHERE.items():
        cdk.Validations.of(app).acknowledge(cdk.Acknowledgment(id=rule, reason=reason))
    of_all = (finding for profile in config.all_profiles for finding in acknowledged(profile))
    for finding in dict.fromkeys(of_all):  # what the profiles share, once
        construct: IConstruct = app
        for name in finding.construct.split("/"):
            construct = construct.node.find_child(name)
        cdk.Validations.of(construct).acknowledge(cdk.Acknowledgment(id=finding.rule, reason=finding.reason))


def check(app: cdk.App) -> None:
    """Have synthesis of `app` fail on what cdk-nag finds and nobody acknowledged."""
    import cdk_nag  # here, because it is a development tool: deploying needs none

    cdk.Validations.of(app).add_plugins(cdk_nag.AwsSolutionsChecks(app), cdk_nag.ServerlessChecks(app))
