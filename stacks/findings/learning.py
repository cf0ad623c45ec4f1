"""What cdk-nag finds in the learning stack's training part and we leave as it is, each with its reason."""

from collections.abc import Iterator
from typing import NamedTuple

from stacks.config.profiles import Profile
from stacks.config.stage import StageConfig


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
    yield AcceptedFinding(
        "AwsSolutions-S1",
        "TrainingData",
        "Written by few roles of this account. Who wants each access on record switches on CloudTrail data events.",
    )
    for profile in config.all_profiles:
        yield from _of_profile(profile, config.region, models_bucket_arn)
        executions = _arn(config.region, "pipeline", f"{profile.pipeline_name}/execution/*")
        starters = _starters(profile)
        for function in ("TrainingEnded", *starters):
            yield _wildcard(
                f"{function}/Role/DefaultPolicy",
                executions,
                "SageMaker names the executions of this one pipeline, at their start.",
            )


def _of_profile(profile: Profile, region: str, models_bucket_arn: str) -> Iterator[AcceptedFinding]:
    """Of the gate and the role of one profile's pipeline."""
    role, admit = (f"{profile.construct_id(id_)}/Role/DefaultPolicy" for id_ in ("TrainingRole", "Admit"))
    of_runs = "" if profile.is_detected else profile.versions
    below = "The key of what a run writes is made of its id, which SageMaker gives it."
    written = [f"{models_bucket_arn}/{profile.forests}/*", f"{models_bucket_arn}/packages/{of_runs}*"]
    for resource in [f"{models_bucket_arn}/*"] if profile.is_detected else written:
        yield _wildcard(admit, resource, "admit reads whatever a run has left there; no more is there.")
    if profile.is_detected:
        yield _wildcard(
            role,
            f"{models_bucket_arn}/*",
            "Evaluate reads the candidate's and the champion's artifacts; no more is there.",
        )
    training_data = "<TrainingData3FDB6D34.Arn>"
    for resource in (*written, f"{training_data}/runs/{of_runs}*"):
        yield _wildcard(role, resource, below)
    yield _wildcard(
        role, f"{training_data}/{profile.history}*", "Its owner names the files of the history; a run reads them all."
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
        role,
        _arn(region, "model-package", f"{profile.pipeline_name}/*"),
        "The registry numbers the versions of this group.",
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


def _starters(profile: Profile) -> tuple[str, ...]:
    is_scheduled = profile.config.learning.retraining_days is not None
    return (profile.construct_id("StartTraining"),) if is_scheduled else ()


def functions(config: StageConfig) -> tuple[str, ...]:
    """The functions of the training part."""
    own = [(profile.construct_id("Admit"), *_starters(profile)) for profile in config.all_profiles]
    return ("TrainingEnded", *(path for paths in own for path in paths))
