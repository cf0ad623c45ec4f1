"""What cdk-nag finds in the learning stack's training part and we leave as it is, each with its reason."""

from collections.abc import Iterator
from typing import NamedTuple

from stacks.config.stage import StageConfig


class AcceptedFinding(NamedTuple):
    """A rule, a construct below the learning stack, and why it stays."""

    rule: str
    path: str
    reason: str


# long: a list of findings, each with its reason
def findings(config: StageConfig, models_bucket_arn: str) -> Iterator[AcceptedFinding]:
    """The findings of one stage; `models_bucket_arn` is as cdk-nag words it."""
    yield AcceptedFinding(
        "AwsSolutions-S1",
        "TrainingData",
        "Written by few roles of this account. Who wants each access on record switches on CloudTrail data events.",
    )
    region, pipeline = config.region, config.pipeline_name
    for function in functions(config):
        if function != "Admit":
            yield _wildcard(
                f"{function}/Role/DefaultPolicy",
                _arn(region, "pipeline", f"{pipeline}/execution/*"),
                "SageMaker names the executions of this one pipeline, at their start.",
            )
    role, admit = "TrainingRole/Role/DefaultPolicy", "Admit/Role/DefaultPolicy"
    yield _wildcard(admit, f"{models_bucket_arn}/*", "admit reads whatever a run has left there; no more is there.")
    yield _wildcard(
        role, f"{models_bucket_arn}/*", "Evaluate reads the candidate's and the champion's artifacts; no more is there."
    )
    training_data = "<TrainingData3FDB6D34.Arn>"
    for resource in (f"{models_bucket_arn}/forests/*", f"{models_bucket_arn}/packages/*", f"{training_data}/runs/*"):
        yield _wildcard(role, resource, "The key of what a run writes is made of its id, which SageMaker gives it.")
    yield _wildcard(
        role, f"{training_data}/history/*", "Its owner names the files of the history; a run reads them all."
    )
    for kind in ("processing-job", "training-job"):
        yield _wildcard(role, _arn(region, kind, "pipelines-*"), "SageMaker names the jobs of a pipeline itself.")
    for kind in ("model", "endpoint-config", "endpoint"):
        yield _wildcard(
            role,
            _arn(region, kind, "treeline-evaluate-*"),
            "Evaluate makes it, named by the run's id, and deletes it before it ends.",
        )
    yield _wildcard(
        role, _arn(region, "model-package", f"{pipeline}/*"), "The registry numbers the versions of this group."
    )
    yield _wildcard(
        role,
        "*",
        "ecr:GetAuthorizationToken, sagemaker:ListModelPackages and cloudwatch:PutMetricData (bounded by its "
        "namespace) have no resource type.",
    )
    yield _wildcard(
        role,
        f"arn:aws:logs:{region}:<AWS::AccountId>:log-group:/aws/sagemaker/*",
        "SageMaker makes the groups of its jobs and writes to them in the role's name.",
    )


def _wildcard(path: str, resource: str, reason: str) -> AcceptedFinding:
    return AcceptedFinding(f"AwsSolutions-IAM5[Resource::{resource}]", path, reason)


def _arn(region: str, kind: str, name: str) -> str:
    return f"arn:aws:sagemaker:{region}:<AWS::AccountId>:{kind}/{name}"


def functions(config: StageConfig) -> tuple[str, ...]:
    """The functions of the training part."""
    is_scheduled = config.learning.retraining_days is not None
    return ("TrainingEnded", "Admit", *(("StartTraining",) if is_scheduled else ()))
