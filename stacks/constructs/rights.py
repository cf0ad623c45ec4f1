"""What roles may do, and the ARNs that say on what."""

from collections.abc import Mapping, Sequence

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from constructs import Construct, IConstruct

REPOSITORY = "treeline"  # of our container


def sagemaker_arn(scope: IConstruct, kind: str, name: str) -> str:
    """Of a resource of SageMaker's in the stack's account and region."""
    return cdk.Stack.of(scope).format_arn(service="sagemaker", resource=kind, resource_name=name)


def service_role(scope: Construct, id_: str, service: str, description: str) -> iam.Role:
    """A role that a service of AWS's may take, such as "lambda", and that may do nothing yet."""
    return iam.Role(scope, id_, assumed_by=iam.ServicePrincipal(f"{service}.amazonaws.com"), description=description)


def allow(
    role: iam.Role, actions: Sequence[str], resources: Sequence[str], conditions: Mapping[str, object] | None = None
) -> None:
    """Allow `actions` on `resources`; CDK's grants bring wildcards and more than is used."""
    role.add_to_policy(iam.PolicyStatement(actions=list(actions), resources=list(resources), conditions=conditions))


def allow_container(role: iam.Role, *, log_groups: str, repository_arns: Sequence[str] = ()) -> None:
    """What running a container with `role` takes: its image (ours, or of other repositories), logs, metrics."""
    stack = cdk.Stack.of(role)
    repository = stack.format_arn(service="ecr", resource="repository", resource_name=REPOSITORY)
    pull = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    allow(role, pull, [repository, *repository_arns])
    allow(role, ["ecr:GetAuthorizationToken"], ["*"])  # has no resource type
    logs = stack.format_arn(
        service="logs",
        resource="log-group",
        resource_name=f"/aws/sagemaker/{log_groups}",
        arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
    )
    write = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
    allow(role, write, [logs])
    namespace = {"StringLike": {"cloudwatch:namespace": "/aws/sagemaker/*"}}
    allow(role, ["cloudwatch:PutMetricData"], ["*"], namespace)  # has no resource type; the namespace bounds it


def allow_passing(role: iam.Role, passed: iam.Role) -> None:
    """Let `role` have SageMaker run something with the role `passed`."""
    to_sagemaker = {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
    allow(role, ["iam:PassRole"], [passed.role_arn], to_sagemaker)
