"""The history fetch as a container on AWS Batch: for fleets whose past takes longer than anybody's session."""

import aws_cdk as cdk
from aws_cdk import aws_batch as batch
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from constructs import Construct

from stacks.constructs.rights import REPOSITORY, allow, service_role
from stacks.constructs.stage_stack import protection_of

ATTEMPTS = 5  # Spot may take the machine away; the next attempt goes on where the last one was
TIMEOUT_H = 12
CPUS, MEMORY_MIB = 1, 4096


class HistoryJob(Construct):
    """A job that runs `treeline history fetch` into the training bucket, on Fargate Spot.

    Start it with `aws batch submit-job --job-queue ... --job-definition ... --job-name history`; other arguments than
    the default ones go into `--container-overrides command=...`. A job may start again at any time: it follows the
    plan it finds in the bucket and repeats nothing.
    """

    # long: one job, key by key
    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        training_data: s3.IBucket,  # history goes below `history/`
        image: str,  # our container's URI (container/Dockerfile); a tag or a digest after the repository `treeline`
        days: int,  # how far back to fetch
        removal_policy: cdk.RemovalPolicy,  # of the log
    ) -> None:
        super().__init__(scope, id_)
        network = self._network()
        self.role = self._role(training_data)
        log = logs.LogGroup(
            self,
            "Log",
            retention=logs.RetentionDays.ONE_MONTH,
            encryption_key=protection_of(self).key,
            removal_policy=removal_policy,
        )
        command = ["python", "-m", "treeline", "history", "fetch"]
        command += ["--out", f"s3://{training_data.bucket_name}/history", "--days", str(days)]
        container = batch.EcsFargateContainerDefinition(
            self,
            "Container",
            image=ecs.ContainerImage.from_registry(image),
            cpu=CPUS,
            memory=cdk.Size.mebibytes(MEMORY_MIB),
            command=command,
            job_role=self.role,
            execution_role=self._execution_role(log),
            assign_public_ip=True,
            logging=ecs.LogDriver.aws_logs(stream_prefix="history", log_group=log),
            fargate_cpu_architecture=ecs.CpuArchitecture.X86_64,
            fargate_operating_system_family=ecs.OperatingSystemFamily.LINUX,
        )
        self.definition = batch.EcsJobDefinition(
            self,
            "Definition",
            container=container,
            retry_attempts=ATTEMPTS,
            timeout=cdk.Duration.hours(TIMEOUT_H),
            propagate_tags=True,
        )
        environment = batch.FargateComputeEnvironment(
            self,
            "Spot",
            vpc=network,
            vpc_subnets=ec2.SubnetSelection(subnet_type=ec2.SubnetType.PUBLIC),
            spot=True,
            maxv_cpus=CPUS,  # one fetch at a time: two would share the account's quota
            replace_compute_environment=True,
        )
        self.queue = batch.JobQueue(
            self,
            "Queue",
            compute_environments=[batch.OrderedComputeEnvironment(compute_environment=environment, order=1)],
        )

    def _network(self) -> ec2.Vpc:
        """Two public subnets and nothing that costs by the hour."""
        network = ec2.Vpc(
            self,
            "Network",
            max_azs=2,
            nat_gateways=0,
            restrict_default_security_group=False,  # nothing uses it, and restricting it takes a function of its own
            subnet_configuration=[ec2.SubnetConfiguration(name="job", subnet_type=ec2.SubnetType.PUBLIC, cidr_mask=26)],
        )
        network.add_gateway_endpoint("S3", service=ec2.GatewayVpcEndpointAwsService.S3)
        return network

    def _role(self, training_data: s3.IBucket) -> iam.Role:
        role = service_role(self, "Role", "ecs-tasks", "Treeline history job: reads metrics, writes history")
        reads = ["cloudwatch:GetMetricData", "cloudwatch:ListMetrics", "ec2:DescribeInstances"]
        allow(role, reads, ["*"])  # they have no resource type
        files = training_data.arn_for_objects("history/*")
        allow(role, ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"], [files])
        below_history = {"StringLike": {"s3:prefix": ["history/*"]}}
        allow(role, ["s3:ListBucket"], [training_data.bucket_arn], below_history)
        return role

    def _execution_role(self, log: logs.ILogGroup) -> iam.Role:
        """What starts the container: pulls our image, writes its log."""
        role = service_role(self, "StartRole", "ecs-tasks", "Treeline history job: starts its container")
        ecr.Repository.from_repository_name(self, "Repository", REPOSITORY).grant_pull(role)
        log.grant_write(role)
        return role
