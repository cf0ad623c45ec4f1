"""What a security review asks: encryption, TLS, public access, what may be deleted; permissions: test_permissions."""

from tests.infra.templates import Stage, listed, told


def test_no_policy_allows_a_wildcard_action_or_everything(stage: Stage):
    for key, statement in stage.statements():
        assert statement["Effect"] == "Allow"
        assert "NotAction" not in statement, key
        for action in listed(statement["Action"]):
            assert "*" not in action, (key, action)
        if "*" in listed(statement["Resource"]):
            assert set(listed(statement["Action"])) <= WITHOUT_RESOURCE_TYPE, key


# AWS knows no other resource for these (Service Authorization Reference).
WITHOUT_RESOURCE_TYPE = {
    "cloudwatch:PutMetricData",
    "ecr:GetAuthorizationToken",
    "sagemaker:ListEndpointConfigs",
    "sagemaker:ListModelPackages",
    "logs:CreateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:DescribeLogGroups",
    "logs:DescribeResourcePolicies",
    "logs:GetLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:UpdateLogDelivery",
    "xray:GetSamplingRules",
    "xray:GetSamplingTargets",
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
}


def test_functions_write_only_their_own_log_and_carry_no_managed_policy(stage: Stage):
    roles = stage.resources("AWS::IAM::Role")

    assert len(roles) >= 5
    assert not [key for key, role in roles.items() if "ManagedPolicyArns" in role]
    for key, statement in stage.statements():
        if "logs:PutLogEvents" in listed(statement["Action"]) and "/aws/sagemaker/" not in told(statement["Resource"]):
            function = key.split("/")[1].split("Role")[0]
            assert f'"{function}Logs' in told(statement["Resource"]), key


def test_every_queue_and_topic_and_bucket_refuses_plain_http(stage: Stage):
    for kind, policy_kind, target in (
        ("AWS::SQS::Queue", "AWS::SQS::QueuePolicy", "Queues"),
        ("AWS::SNS::Topic", "AWS::SNS::TopicPolicy", "Topics"),
        ("AWS::S3::Bucket", "AWS::S3::BucketPolicy", "Bucket"),
    ):
        policies = list(stage.resources(policy_kind).values())
        for key in stage.resources(kind):
            name = key.split("/")[1]
            refusals = [
                statement
                for policy in policies
                if f'"{name}"' in told(policy[target])
                for statement in policy["PolicyDocument"]["Statement"]
                if statement["Effect"] == "Deny"
                and statement["Condition"].get("Bool") == {"aws:SecureTransport": "false"}
                and statement["Principal"] in ({"AWS": "*"}, "*")
            ]
            assert refusals, key


def test_everything_is_encrypted_at_rest(stage: Stage):
    for key, queue in stage.resources("AWS::SQS::Queue").items():
        assert queue["SqsManagedSseEnabled"] is True, key
    for key, topic in stage.resources("AWS::SNS::Topic").items():
        assert topic["KmsMasterKeyId"], key
    for key, bucket in stage.resources("AWS::S3::Bucket").items():
        assert bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"], key
    for key, stream in stage.resources("AWS::Kinesis::Stream").items():
        assert stream["StreamEncryption"]["EncryptionType"] == "KMS", key
    for key, table in stage.resources("AWS::DynamoDB::GlobalTable").items():
        assert table["SSESpecification"] == {"SSEEnabled": True, "SSEType": "KMS"}, key


def test_alarms_can_publish_to_the_encrypted_operations_topic(stage: Stage):
    """With AWS's own key for SNS they could not, and nobody would notice."""
    topic = stage.one("AWS::SNS::Topic", "alerting/Operations")
    key = stage.one("AWS::KMS::Key", "alerting/OperationsKey")

    assert "OperationsKey" in told(topic["KmsMasterKeyId"])
    (statement,) = [
        s for s in key["KeyPolicy"]["Statement"] if s["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    ]
    assert set(statement["Action"]) == {"kms:Decrypt", "kms:GenerateDataKey"}
    publishers = [
        s
        for p in stage.resources("AWS::SNS::TopicPolicy").values()
        for s in p["PolicyDocument"]["Statement"]
        if s["Effect"] == "Allow"
    ]
    assert [(s["Action"], s["Principal"]) for s in publishers] == [
        ("sns:Publish", {"Service": "cloudwatch.amazonaws.com"})
    ]


def test_buckets_are_private(stage: Stage):
    buckets = stage.resources("AWS::S3::Bucket")

    assert len(buckets) >= 3
    for key, bucket in buckets.items():
        assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}, key


def test_tables_can_be_restored_to_any_moment(stage: Stage):
    for key, table in stage.resources("AWS::DynamoDB::GlobalTable").items():
        (replica,) = table["Replicas"]
        assert replica["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True, key


def test_the_routing_key_is_in_no_template(stage: Stage):
    """The secret is made empty; its owner puts the key in."""
    secret = stage.one("AWS::SecretsManager::Secret", "alerting/RoutingKey")

    assert "SecretString" not in secret
    assert "GenerateSecretString" not in secret


def test_production_data_outlives_its_stack_and_local_data_does_not(stage: Stage, local_stage: Stage):
    stateful = ("AWS::DynamoDB::GlobalTable", "AWS::S3::Bucket", "AWS::Kinesis::Stream")
    for which, policy in ((stage, "Retain"), (local_stage, "Delete")):
        found = [
            resource["DeletionPolicy"]
            for part in ("state", "ingestion")
            for resource in which.template(part)["Resources"].values()
            if resource["Type"] in stateful
        ]
        assert found == [policy] * 11, which.name
    assert '"terminationProtection": true' in (stage.folder / "manifest.json").read_text(encoding="utf-8")
    assert all(
        r["DeletionProtectionEnabled"] is True
        for t in stage.resources("AWS::DynamoDB::GlobalTable").values()
        for r in t["Replicas"]
    )


def test_names_are_generated(stage: Stage):
    """Two stages, or a replaced resource beside its successor, fit into one account."""
    for kind, name in (
        ("AWS::DynamoDB::GlobalTable", "TableName"),
        ("AWS::S3::Bucket", "BucketName"),
        ("AWS::SQS::Queue", "QueueName"),
        ("AWS::SNS::Topic", "TopicName"),
        ("AWS::Lambda::Function", "FunctionName"),
        ("AWS::Kinesis::Stream", "Name"),
        ("AWS::IAM::Role", "RoleName"),
        ("AWS::Logs::LogGroup", "LogGroupName"),
    ):
        resources = stage.resources(kind)
        assert resources, kind
        # Step Functions delivers logs to groups of this prefix only, without a policy of each that grows too long.
        vended = {key for key, p in resources.items() if "/aws/vendedlogs/" in told(p.get(name, ""))}
        assert not [key for key, properties in resources.items() if name in properties and key not in vended]
