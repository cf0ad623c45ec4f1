"""SageMaker Model Monitor on captured data, for accounts that still have it; off by default."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3_assets as s3_assets
from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct

from stacks.config.learning import ANALYZER_ACCOUNTS
from stacks.config.stage import StageConfig

PREPROCESSOR = Path(__file__).with_name("model_monitor_preprocessor.py")
NO_METRICS = "METRICS: Any = ()"  # the script's line that names none
INPUT = "/opt/ml/processing/input/endpoint"
OUTPUT = "/opt/ml/processing/output"


def preprocessor_of(metrics: Sequence[str]) -> str:
    """The analyzer's script for rows over these metrics."""
    return PREPROCESSOR.read_text(encoding="utf-8").replace(NO_METRICS, f"METRICS = {tuple(metrics)!r}", 1)


class ModelMonitor(Construct):
    """Hourly data-quality job over the endpoint's captured requests, against a fixed package's baseline."""

    def __init__(
        self, scope: Construct, id_: str, *, config: StageConfig, role: iam.Role, baseline_url: str, output_url: str
    ) -> None:
        super().__init__(scope, id_)
        script = Path(tempfile.mkdtemp()) / PREPROCESSOR.name
        script.write_text(preprocessor_of(config.metric_names), encoding="utf-8")
        preprocessor = s3_assets.Asset(self, "Preprocessor", path=str(script))
        preprocessor.grant_read(role)
        account = ANALYZER_ACCOUNTS[config.region]
        suffix = cdk.Stack.of(self).url_suffix
        job = sagemaker.CfnDataQualityJobDefinition(
            self,
            "DataQuality",
            role_arn=role.role_arn,
            data_quality_app_specification=sagemaker.CfnDataQualityJobDefinition.DataQualityAppSpecificationProperty(
                image_uri=f"{account}.dkr.ecr.{config.region}.{suffix}/sagemaker-model-monitor-analyzer",
                # Captured rows have no names, and answers are JSON: the analyzer gets named features instead.
                record_preprocessor_source_uri=preprocessor.s3_object_url,
            ),
            data_quality_baseline_config=sagemaker.CfnDataQualityJobDefinition.DataQualityBaselineConfigProperty(
                statistics_resource=sagemaker.CfnDataQualityJobDefinition.StatisticsResourceProperty(
                    s3_uri=f"{baseline_url}/statistics.json"
                ),
                constraints_resource=sagemaker.CfnDataQualityJobDefinition.ConstraintsResourceProperty(
                    s3_uri=f"{baseline_url}/constraints.json"
                ),
            ),
            data_quality_job_input=sagemaker.CfnDataQualityJobDefinition.DataQualityJobInputProperty(
                endpoint_input=sagemaker.CfnDataQualityJobDefinition.EndpointInputProperty(
                    endpoint_name=config.endpoint_name, local_path=INPUT
                )
            ),
            data_quality_job_output_config=sagemaker.CfnDataQualityJobDefinition.MonitoringOutputConfigProperty(
                monitoring_outputs=[
                    sagemaker.CfnDataQualityJobDefinition.MonitoringOutputProperty(
                        s3_output=sagemaker.CfnDataQualityJobDefinition.S3OutputProperty(
                            local_path=OUTPUT, s3_uri=output_url
                        )
                    )
                ]
            ),
            job_resources=sagemaker.CfnDataQualityJobDefinition.MonitoringResourcesProperty(
                cluster_config=sagemaker.CfnDataQualityJobDefinition.ClusterConfigProperty(
                    instance_count=1, instance_type="ml.t3.large", volume_size_in_gb=20
                )
            ),
        )
        schedule = sagemaker.CfnMonitoringSchedule(
            self,
            "Hourly",
            monitoring_schedule_name=f"{config.pipeline_name}-data-quality",
            monitoring_schedule_config=sagemaker.CfnMonitoringSchedule.MonitoringScheduleConfigProperty(
                monitoring_type="DataQuality",
                monitoring_job_definition_name=job.ref,
                schedule_config=sagemaker.CfnMonitoringSchedule.ScheduleConfigProperty(
                    schedule_expression="cron(0 * ? * * *)"
                ),
            ),
        )
        schedule.node.add_dependency(job)
