"""Permissions that stay though no recorded call uses them, each with its reason."""

from collections.abc import Iterator

from tests.infra import acknowledged_roles
from tests.infra.permissions import Use

_DRIFT, _ROLLUP = "learning/DriftWatchDriftFunction", "learning/DriftWatchRollupFunction"
_STEP, _WORKFLOW = "learning/PromotionStepFunction", "learning/PromotionWorkflow"
_NOT_REACHED = "No test of tests/deployed reaches this branch of the code yet: needed by it, proven by reading only."
_LOGGING = "Step Functions delivers an execution's log and trace with this; AWS documents the list as it stands."
# Functions that no test of tests/deployed invokes yet: nothing is recorded of them, their permissions are not proven.
NOT_RUN: dict[str, str] = {}

# Recorded calls that one run of tests/deployed makes and another does not, though the code is the same: why.
VARYING: dict[Use, str] = {}


def _all(caller: str, actions: str, resource: str, reason: str) -> Iterator[tuple[Use, str]]:
    for action in actions.split():
        yield Use(caller, action, resource), reason


ACKNOWLEDGED: dict[Use, str] = dict(
    [
        *_all(
            "detection/ReprocessFunction",
            "sqs:ChangeMessageVisibility",
            "detection/TicksDead",
            "Gives back dead ticks that could not be sent on; the embedded cloud's queue never refuses half a batch.",
        ),
        *_all("detection/DetectFunction", "dynamodb:PutItem", "state/Rollups", _NOT_REACHED),
        *_all(_STEP, "s3:ListBucket", "state/Models", _NOT_REACHED),
        *_all(_DRIFT, "dynamodb:DeleteItem", "state/Controls", _NOT_REACHED),
        *_all(
            _DRIFT,
            "sagemaker:StopPipelineExecution",
            "sagemaker:pipeline/treeline-STAGE-default/execution/*",
            _NOT_REACHED,
        ),
        *_all(_ROLLUP, "dynamodb:GetItem", "state/Rollups", _NOT_REACHED),
        *_all(
            "learning/AdmitFunction",
            "s3:ListBucket",
            "state/Models",
            "Without it S3 calls a missing artifact forbidden instead of missing, and the reason told would be wrong.",
        ),
        *_all(_STEP, "sagemaker:DeleteEndpoint", "sagemaker:endpoint/treeline-STAGE", _NOT_REACHED),
        *_all(_STEP, "sagemaker:UpdateEndpointWeightsAndCapacities", "sagemaker:endpoint/treeline-STAGE", _NOT_REACHED),
        *_all(
            _WORKFLOW,
            "logs:CreateLogDelivery logs:DeleteLogDelivery logs:DescribeLogGroups logs:DescribeResourcePolicies "
            "logs:GetLogDelivery logs:ListLogDeliveries logs:PutResourcePolicy logs:UpdateLogDelivery "
            "xray:GetSamplingRules xray:GetSamplingTargets xray:PutTelemetryRecords xray:PutTraceSegments",
            "*",
            _LOGGING,
        ),
        *((Use(*use), reason) for use, reason in acknowledged_roles.reasons()),
        *_all(
            _STEP,
            "cloudwatch:PutMetricAlarm cloudwatch:DescribeAlarms cloudwatch:DeleteAlarms",
            "arn:aws:cloudwatch:us-east-1:AWS::AccountId:alarm:TargetTracking-*",
            "Autoscaling makes a policy's alarms in the name of who registers it; the embedded one has no alarms.",
        ),
        *_all(
            _STEP,
            "iam:CreateServiceLinkedRole",
            "iam:role/aws-service-role/sagemaker.application-autoscaling.amazonaws.com/"
            "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint",
            "Autoscaling makes its role at the first registration in an account, in the name of who registers.",
        ),
    ]
)
