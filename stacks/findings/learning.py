"""What cdk-nag finds in the learning stack's training part and we leave as it is, each with its reason."""

from collections.abc import Iterator
from typing import NamedTuple

from stacks.config.stage import StageConfig

_ROLE = "TrainingRole/Role/DefaultPolicy"


class AcceptedFinding(NamedTuple):
    """A rule, a construct below the learning stack, and why it stays."""

    rule: str
    path: str
    reason: str


# long: a list of findings, each with its reason
def findings(config: StageConfig, models_bucket_arn: str) -> Iterator[AcceptedFinding]:
    """The findings of one stage.

    Args:
        config: The stage.
        models_bucket_arn: The models bucket's ARN as cdk-nag words it.
    """

    def wildcard(path: str, resource: str, reason: str) -> AcceptedFinding:
        return AcceptedFinding(f"AwsSolutions-IAM5[Resource::{resource}]", path, reason)

    def arn(kind: str, name: str) -> str:
        return f"arn:aws:sagemaker:{config.region}:<AWS::AccountId>:{kind}/{name}"

    yield AcceptedFinding(
        "AwsSolutions-S1",
        "TrainingData",
        "Written by few roles of this account. Who wants each access on record switches on CloudTrail data events.",
    )
    yield wildcard(
        "Admit/Role/DefaultPolicy",
        f"{models_bucket_arn}/*",
        "admit reads whatever a run has left there; the bucket holds nothing else.",
    )
    yield wildcard(
        _ROLE,
        f"{models_bucket_arn}/*",
        "Evaluate reads the candidate's and the champion's artifacts; no more is there.",
    )
    below = "The key of what a run writes is made of its id, which SageMaker gives it."
    for prefix in ("forests", "packages"):
        yield wildcard(_ROLE, f"{models_bucket_arn}/{prefix}/*", below)
    yield wildcard(
        _ROLE, "<TrainingData3FDB6D34.Arn>/history/*", "Its owner names the files of the history; a run reads them all."
    )
    yield wildcard(_ROLE, "<TrainingData3FDB6D34.Arn>/runs/*", below)
    for kind in ("processing-job", "training-job"):
        yield wildcard(_ROLE, arn(kind, "pipelines-*"), "SageMaker names the jobs of a pipeline itself.")
    for kind in ("model", "endpoint-config", "endpoint"):
        yield wildcard(
            _ROLE,
            arn(kind, "treeline-evaluate-*"),
            "Evaluate makes it, named by the run's id, and deletes it before it ends.",
        )
    yield wildcard(
        _ROLE, arn("model-package", f"{config.pipeline_name}/*"), "The registry numbers the versions of this group."
    )
    yield wildcard(
        _ROLE,
        "*",
        "ecr:GetAuthorizationToken, sagemaker:ListModelPackages and cloudwatch:PutMetricData (bounded by its "
        "namespace) have no resource type.",
    )
    yield wildcard(
        _ROLE,
        f"arn:aws:logs:{config.region}:<AWS::AccountId>:log-group:/aws/sagemaker/*",
        "SageMaker makes the groups of its jobs and writes to them in the role's name.",
    )
    for function in functions(config)[1:]:
        yield wildcard(
            f"{function}/Role/DefaultPolicy",
            arn("pipeline", f"{config.pipeline_name}/execution/*"),
            "SageMaker names the executions of this one pipeline, at their start.",
        )


def functions(config: StageConfig) -> tuple[str, ...]:
    """The functions of the training part."""
    scheduled = () if config.learning.retraining_days is None else ("StartTraining",)
    return ("Admit", "TrainingEnded", *scheduled)
