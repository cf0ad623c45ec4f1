"""The key of a stage, for stages that do not want AWS's own keys."""

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

# Services that use the key in the name of whoever calls them; a caller without leave for the service gets nothing.
_VIA = ("dynamodb", "kinesis", "s3", "secretsmanager", "sns", "sqs")
_USE = (
    "kms:Decrypt",
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
)


class StageKey(Construct):
    """One key for everything a stage stores.

    Its policy says what those of AWS's own keys say: who in this account may use the table, queue or bucket may use its
    key through that service. So roles hold no permission on the key, and nobody can decrypt beside the service.
    """

    def __init__(self, scope: Construct, id_: str, *, stage: str, removal_policy: cdk.RemovalPolicy) -> None:
        super().__init__(scope, id_)
        stack = cdk.Stack.of(self)
        self.key = kms.Key(
            self,
            "Key",
            description=f"Treeline {stage}: all that is stored",
            enable_key_rotation=True,
            removal_policy=removal_policy,  # data that outlives the stack must stay readable
        )
        self._let(
            iam.AnyPrincipal(),
            [*_USE, "kms:CreateGrant", "kms:DescribeKey"],
            {
                "StringEquals": {
                    "kms:CallerAccount": stack.account,
                    "kms:ViaService": [f"{service}.{stack.region}.amazonaws.com" for service in _VIA],
                }
            },
        )
        # In their own name: alarms to a topic, a topic to its queue, a rule to its dead letters.
        for service in ("cloudwatch", "sns", "events"):
            self._let(
                iam.ServicePrincipal(f"{service}.amazonaws.com"),
                ["kms:Decrypt", "kms:GenerateDataKey"],
                {"StringEquals": {"aws:SourceAccount": stack.account}},
            )
        groups = stack.format_arn(
            service="logs", resource="log-group", resource_name="*", arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME
        )
        self._let(
            iam.ServicePrincipal(f"logs.{stack.region}.amazonaws.com"),
            [*_USE, "kms:DescribeKey"],
            {"ArnLike": {"kms:EncryptionContext:aws:logs:arn": groups}},
        )

    def _let(self, who: iam.IPrincipal, actions: list[str], conditions: dict[str, object]) -> None:
        self.key.add_to_resource_policy(
            iam.PolicyStatement(principals=[who], actions=actions, resources=["*"], conditions=conditions)
        )
