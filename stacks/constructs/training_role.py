"""The role of the training pipeline and of the jobs it starts."""

from aws_cdk import aws_s3 as s3
from constructs import Construct

from stacks.constructs.rights import allow, allow_container, allow_passing, sagemaker_arn, service_role
from stacks.constructs.stores import STATE_INDEX, Stores, arns_of_controls

JOBS = "pipelines-*"  # SageMaker names the jobs of a pipeline so
EVALUATE = "treeline-evaluate-*"  # training.evaluate.scorers.PREFIX


class TrainingRole(Construct):
    """Reads history, writes runs and models, starts jobs, registers in its own group; nothing else."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        training_data: s3.IBucket,
        state: Stores,
        pipeline_name: str,
        admit_arn: str,
    ) -> None:
        super().__init__(scope, id_)
        models = state.models
        self.role = service_role(self, "Role", "sagemaker", "Treeline training pipeline and its jobs")
        self._allow(["s3:GetObject"], [training_data.arn_for_objects("history/*"), models.arn_for_objects("*")])
        self._allow(["s3:GetObject", "s3:PutObject"], [training_data.arn_for_objects("runs/*")])
        self._allow(["s3:PutObject"], [models.arn_for_objects("packages/*"), models.arn_for_objects("forests/*")])
        self._allow(["s3:ListBucket"], [training_data.bucket_arn, models.bucket_arn])
        # Bad hours that detection knows of, and the champion.
        self._allow(["dynamodb:GetItem", "dynamodb:Query"], arns_of_controls(state))
        self._allow(["dynamodb:Query"], [f"{state.incidents.table_arn}/index/{STATE_INDEX}"])
        self._allow(["dynamodb:Scan"], [state.servers.table_arn])  # every server's group and labels, read once
        self._allow(["lambda:InvokeFunction"], [admit_arn])
        for kind in ("Processing", "Training"):
            self._allow(
                [f"sagemaker:{verb}{kind}Job" for verb in ("Create", "Describe", "Stop")],
                [self._arn(f"{kind.lower()}-job", JOBS)],
            )
        self._evaluation_endpoints()
        group, packages = (
            self._arn("model-package-group", pipeline_name),
            self._arn("model-package", f"{pipeline_name}/*"),
        )
        self._allow(["sagemaker:CreateModelPackage"], [group, packages])
        # A pipeline tags what its steps make with the execution that made it.
        jobs = [self._arn(f"{kind}-job", JOBS) for kind in ("processing", "training")]
        self._allow(["sagemaker:AddTags"], [*jobs, packages])
        self._allow(["sagemaker:ListModelPackages"], ["*"])  # has no resource type
        self._allow(["sagemaker:DescribeModelPackage"], [packages])
        allow_container(self.role, log_groups="*")
        allow_passing(self.role, self.role)

    def _evaluation_endpoints(self) -> None:
        """Evaluate hosts, for as long as it runs, a model whose artifact only its container can read."""
        self._allow(["sagemaker:CreateModel", "sagemaker:DeleteModel"], [self._arn("model", EVALUATE)])
        self._allow(
            ["sagemaker:CreateEndpointConfig", "sagemaker:DeleteEndpointConfig"],
            [self._arn("endpoint-config", EVALUATE)],
        )
        endpoint = self._arn("endpoint", EVALUATE)
        self._allow(["sagemaker:CreateEndpoint"], [endpoint, self._arn("endpoint-config", EVALUATE)])
        self._allow([f"sagemaker:{verb}Endpoint" for verb in ("Describe", "Invoke", "Delete")], [endpoint])

    def _allow(self, actions: list[str], resources: list[str]) -> None:
        allow(self.role, actions, resources)

    def _arn(self, kind: str, name: str) -> str:
        return sagemaker_arn(self, kind, name)
