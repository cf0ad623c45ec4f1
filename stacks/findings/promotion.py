"""What cdk-nag finds in promotion and drift and we leave as it is, each with its reason."""

from collections.abc import Iterator

from stacks.config.stage import StageConfig
from stacks.findings.learning import AcceptedFinding

FUNCTIONS = ("Promotion/Approval", "Promotion/Step", "DriftWatch/Drift", "DriftWatch/Rollup")
_STEP = "Promotion/Step/Role/DefaultPolicy"
_HOSTING = "Promotion/HostingRole/DefaultPolicy"
_NO_RESOURCE_TYPE = "Actions without a resource type: AWS knows no other resource for them."
_KEYS_OF_MODELS = "Models lie below keys that are made of their run's id."


def findings(config: StageConfig, models_bucket_arn: str) -> Iterator[AcceptedFinding]:
    """The findings of one stage; `models_bucket_arn` is as cdk-nag words it."""

    def wildcard(path: str, resource: str, reason: str) -> AcceptedFinding:
        return AcceptedFinding(f"AwsSolutions-IAM5[Resource::{resource}]", path, reason)

    def arn(service: str, rest: str) -> str:
        return f"arn:aws:{service}:{config.region}:<AWS::AccountId>:{rest}"

    step_needs_any = not config.is_embedded or config.network.is_on
    for path in (*((_STEP,) if step_needs_any else ()), "Promotion/WorkflowRole/DefaultPolicy"):
        yield wildcard(path, "*", _NO_RESOURCE_TYPE)
    yield wildcard(_STEP, f"{models_bucket_arn}/*", _KEYS_OF_MODELS)
    for path in (_STEP, "DriftWatch/Drift/Role/DefaultPolicy", "DriftWatch/Rollup/Role/DefaultPolicy"):
        yield wildcard(path, f"{models_bucket_arn}/packages/*", "Packages are named by their model's version.")
    yield wildcard(
        _STEP,
        arn("sagemaker", f"model-package/{config.pipeline_name}/*"),
        "The registry numbers the versions of this group.",
    )
    yield wildcard(
        _STEP,
        arn("states", "execution:*:*"),
        "Looks whether the promotion that holds the endpoint still runs; the machine names executions.",
    )
    yield wildcard(
        "DriftWatch/Drift/Role/DefaultPolicy",
        arn("sagemaker", f"pipeline/{config.pipeline_name}/execution/*"),
        "SageMaker names a pipeline's executions; a second one at the same time is stopped.",
    )
    if config.is_embedded:
        return
    yield wildcard(_HOSTING, "*", _NO_RESOURCE_TYPE)
    yield wildcard(_HOSTING, f"{models_bucket_arn}/*", _KEYS_OF_MODELS)
    yield wildcard(_HOSTING, f"{models_bucket_arn}/capture/*", "SageMaker names what it captures by time and variant.")
    yield wildcard(
        _HOSTING, arn("logs", "log-group:/aws/sagemaker/Endpoints/*"), "SageMaker names an endpoint's log group itself."
    )
    yield wildcard(
        _STEP, arn("application-autoscaling", "scalable-target/*"), "The service gives a target its id; it has no name."
    )
    yield wildcard(
        _STEP, arn("cloudwatch", "alarm:TargetTracking-*"), "Autoscaling names the alarms of its policy itself."
    )
    name = config.endpoint_name.lower()
    yield wildcard(_STEP, arn("sagemaker", f"endpoint-config/{name}-*"), "One configuration a promotion, named by it.")
    yield wildcard(
        _STEP, arn("sagemaker", "endpoint-config/*"), "The endpoint may carry a configuration made by hand: it is read."
    )
    yield wildcard(
        _STEP, arn("sagemaker", "model/*"), "A model is named by its version; the first may have been made by hand."
    )
