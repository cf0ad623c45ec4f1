"""Permissions that stay though no recorded call uses them, each with its reason."""

from collections.abc import Iterator

from tests.infra.permissions import Use

_PIPELINE, _HOSTING = "learning/Pipeline", "learning/PromotionHostingRole"
_STEP, _WORKFLOW = "learning/PromotionStepFunction", "learning/PromotionWorkflow"
_SERVICE = "SageMaker does this itself with the role it was handed; the embedded one does the work without the call."
_NOT_REACHED = "No test of tests/local reaches this branch of the code yet: needed by it, proven by reading only."
_LOGGING = "Step Functions delivers an execution's log and trace with this; AWS documents the list as it stands."
# Functions that no test of tests/local invokes yet: nothing is recorded of them, their permissions are not proven.
NOT_RUN = {
    "learning/DriftWatchDriftFunction": "Daily; its use case is tested, the deployed function is not run yet.",
    "learning/DriftWatchRollupFunction": "Hourly; its use case is tested, the deployed function is not run yet.",
}

# Recorded calls that one run of tests/local makes and another does not, though the code is the same: why.
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
        *(
            pair
            for caller in (_PIPELINE, _HOSTING)
            for pair in (
                *_all(caller, "cloudwatch:PutMetricData ecr:GetAuthorizationToken", "*", _SERVICE),
                *_all(
                    caller,
                    "ecr:BatchCheckLayerAvailability ecr:BatchGetImage ecr:GetDownloadUrlForLayer",
                    "ecr:repository/treeline",
                    _SERVICE,
                ),
            )
        ),
        *_all(_PIPELINE, "dynamodb:GetItem dynamodb:Query", "state/Controls", _SERVICE),
        *_all(_PIPELINE, "dynamodb:GetItem", "state/Servers", _SERVICE),
        *_all(_PIPELINE, "dynamodb:Query", "state/Incidents/index/by-state", _SERVICE),
        *_all(_PIPELINE, "iam:PassRole", "learning/TrainingRole", _SERVICE),
        *_all(_PIPELINE, "lambda:InvokeFunction", "learning/AdmitFunction", _SERVICE),
        *_all(
            _PIPELINE,
            "logs:CreateLogGroup logs:CreateLogStream logs:DescribeLogStreams logs:PutLogEvents",
            "arn:aws:logs:us-east-1:AWS::AccountId:log-group:/aws/sagemaker/*",
            _SERVICE,
        ),
        *_all(_PIPELINE, "s3:GetObject", "learning/TrainingData/history/*", _SERVICE),
        *_all(_PIPELINE, "s3:GetObject s3:PutObject", "learning/TrainingData/runs/*", _SERVICE),
        *_all(_PIPELINE, "s3:GetObject", "state/Models/*", _SERVICE),
        *_all(_PIPELINE, "s3:ListBucket", "learning/TrainingData", _SERVICE),
        *_all(_PIPELINE, "s3:ListBucket", "state/Models", _SERVICE),
        *_all(_PIPELINE, "s3:PutObject", "state/Models/forests/*", _SERVICE),
        *_all(_PIPELINE, "s3:PutObject", "state/Models/packages/*", _SERVICE),
        *_all(
            _PIPELINE,
            "sagemaker:AddTags sagemaker:CreateModelPackage sagemaker:DescribeModelPackage",
            "sagemaker:model-package/treeline-STAGE-default/*",
            _SERVICE,
        ),
        *_all(
            _PIPELINE,
            "sagemaker:AddTags sagemaker:CreateProcessingJob sagemaker:DescribeProcessingJob "
            "sagemaker:StopProcessingJob",
            "sagemaker:processing-job/pipelines-*",
            _SERVICE,
        ),
        *_all(
            _PIPELINE,
            "sagemaker:AddTags sagemaker:CreateTrainingJob sagemaker:DescribeTrainingJob sagemaker:StopTrainingJob",
            "sagemaker:training-job/pipelines-*",
            _SERVICE,
        ),
        *_all(
            _PIPELINE,
            "sagemaker:CreateEndpoint sagemaker:CreateEndpointConfig sagemaker:DeleteEndpoint "
            "sagemaker:DeleteEndpointConfig sagemaker:DescribeEndpoint sagemaker:InvokeEndpoint",
            "sagemaker:endpoint-config/treeline-evaluate-*",
            _SERVICE,
        ),
        *_all(
            _PIPELINE,
            "sagemaker:CreateEndpoint sagemaker:DeleteEndpoint sagemaker:DescribeEndpoint sagemaker:InvokeEndpoint",
            "sagemaker:endpoint/treeline-evaluate-*",
            _SERVICE,
        ),
        *_all(
            _PIPELINE, "sagemaker:CreateModel sagemaker:DeleteModel", "sagemaker:model/treeline-evaluate-*", _SERVICE
        ),
        *_all(
            _PIPELINE, "sagemaker:CreateModelPackage", "sagemaker:model-package-group/treeline-STAGE-default", _SERVICE
        ),
        *_all(_PIPELINE, "sagemaker:ListModelPackages", "*", _SERVICE),
        *_all(
            _HOSTING,
            "logs:CreateLogGroup logs:CreateLogStream logs:DescribeLogStreams logs:PutLogEvents",
            "arn:aws:logs:us-east-1:AWS::AccountId:log-group:/aws/sagemaker/Endpoints/*",
            _SERVICE,
        ),
        *_all(_HOSTING, "s3:GetObject", "state/Models/*", _SERVICE),
        *_all(_HOSTING, "s3:PutObject", "state/Models/capture/*", _SERVICE),
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
