"""How a topic is encrypted: by AWS's own key for SNS, or by the stage's."""

from aws_cdk import aws_sns as sns

from stacks.constructs.stage_stack import protection_of


def encrypt(topic: sns.Topic) -> None:
    """Set the key. With AWS's own, publishers in this account need no grant for it, and it costs nothing."""
    key = protection_of(topic).key
    resource = topic.node.default_child
    assert isinstance(resource, sns.CfnTopic)  # noqa: S101 -- narrows what CDK types too widely
    resource.kms_master_key_id = "alias/aws/sns" if key is None else key.key_arn
