"""The training pipeline's definition: the one document that SageMaker executes, and the embedded cloud too.

    Prepare (Processing) -> Train (Training) -> Evaluate (Processing) -> Admit (Lambda) -> Decide (Condition)
        -> Register (RegisterModel)   or   Reject (Fail, with the reasons)

Why these step types: docs/decisions/0060-training-pipeline.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

from stacks.config.learning import ProfileLearning
from treeline.core.detection.scorer_row import feature_dim
from treeline.core.profile import Metric, to_json
from treeline.settings.environment import compressed, overrides

SCHEMA_VERSION = "2020-12-01"
PROCESSING = "/opt/ml/processing"
RECORDIO = "application/x-recordio-protobuf"
# Parameters of an execution.
REASON, WINDOW_END, HISTORY = "Reason", "WindowEnd", "History"
# Those that `treeline threshold` and `treeline tune --apply` override; see treeline.app.detect.override.
NUM_TREES, NUM_SAMPLES_PER_TREE, POLICY_OVERRIDE = "NumTrees", "NumSamplesPerTree", "PolicyOverride"
MAX_ARGUMENT = 256  # characters of one container argument (API CreateProcessingJob)
LATEST = "latest"  # WindowEnd: the newest observation of the history

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineParts:
    """What the definition names; every value may be a token of the CDK."""

    name: str  # of the pipeline and of the registry's group
    metrics: tuple[Metric, ...]
    image: str  # our container
    algorithm_image: str  # trains and serves: our container or the built-in algorithm's
    models_bucket: str
    training_bucket: str
    tables: Mapping[str, str]  # that detection writes, by the arguments that name them
    group_size: int  # servers that detect decides together
    step_s: int | None  # what senders send; None: as the history has it
    admit_function_arn: str
    role_arn: str  # of the pipeline and its jobs
    policy: str  # JSON overrides of PolicySettings, as detect has them
    timezone: str  # the stage's, as detect has it
    rolling_window_s: int  # that all is expected by; 0: each series by what predicted its past best


def definition(config: ProfileLearning, parts: PipelineParts) -> Json:
    """The pipeline definition as plain JSON values."""
    return {
        "Version": SCHEMA_VERSION,
        "Parameters": [
            {"Name": REASON, "Type": "String", "DefaultValue": "manual"},
            {"Name": WINDOW_END, "Type": "String", "DefaultValue": LATEST},
            {"Name": HISTORY, "Type": "String", "DefaultValue": f"s3://{parts.training_bucket}/history/"},
            {"Name": NUM_TREES, "Type": "String", "DefaultValue": str(config.forest.num_trees)},
            {"Name": NUM_SAMPLES_PER_TREE, "Type": "String", "DefaultValue": str(config.forest.num_samples_per_tree)},
            {"Name": POLICY_OVERRIDE, "Type": "String", "DefaultValue": "{}"},
        ],
        "Steps": [
            _prepare(config, parts),
            _train(config, parts),
            _evaluate(config, parts),
            _admit(parts),
            _decide(config, parts),
        ],
    }


def model_version(parts: PipelineParts) -> Json:
    """A model is named by the pipeline and the execution that made it."""
    return _join("-", parts.name.removeprefix("treeline-"), _get("Execution.PipelineExecutionId"))


def _get(reference: str) -> Json:
    return {"Get": reference}


def _join(on: str, *values: Any) -> Json:
    return {"Std:Join": {"On": on, "Values": list(values)}}


def _run_folder(parts: PipelineParts, name: str) -> Json:
    return _join("/", f"s3://{parts.training_bucket}/runs", model_version(parts), name)


def _package_folder(parts: PipelineParts, *below: str) -> Json:
    return _join("/", f"s3://{parts.models_bucket}/packages", model_version(parts), *below)


# long: the body of one request, key by key
def _processing(
    config: ProfileLearning,
    parts: PipelineParts,
    *,
    name: str,
    description: str,
    module: str,
    arguments: Mapping[str, Any],
    inputs: Mapping[str, Any],
    outputs: Mapping[str, Any],
) -> Json:
    flags = [
        part
        for flag, value in arguments.items()
        for part in ([flag, *value] if isinstance(value, list) else [flag, value])
    ]
    return {
        "Name": name,
        "Type": "Processing",
        "Description": description,
        "Arguments": {
            "ProcessingResources": {
                "ClusterConfig": {
                    "InstanceCount": 1,
                    "InstanceType": config.training.processing_instance_type,
                    "VolumeSizeInGB": config.training.volume_gb,
                }
            },
            "AppSpecification": {
                "ImageUri": parts.image,
                "ContainerEntrypoint": ["python", "-m", module],
                "ContainerArguments": flags,
            },
            "ProcessingInputs": [
                {
                    "InputName": input_name,
                    "S3Input": {
                        "S3Uri": uri,
                        "LocalPath": f"{PROCESSING}/input/{input_name}",
                        "S3DataType": "S3Prefix",
                        "S3InputMode": "File",
                        "S3DataDistributionType": "FullyReplicated",
                    },
                }
                for input_name, uri in inputs.items()
            ],
            "ProcessingOutputConfig": {
                "Outputs": [
                    {
                        "OutputName": output_name,
                        "S3Output": {
                            "S3Uri": uri,
                            "LocalPath": f"{PROCESSING}/output/{output_name}",
                            "S3UploadMode": "EndOfJob",
                        },
                    }
                    for output_name, uri in outputs.items()
                ]
            },
            "StoppingCondition": {"MaxRuntimeInSeconds": config.training.max_runtime_s},
        },
        "RetryPolicies": _retries(),
    }


def _in_arguments(names: Sequence[str]) -> list[str]:
    """Names joined by commas, in as few arguments as their length (256 at most) allows."""
    arguments: list[str] = []
    for name in names:
        if arguments and len(arguments[-1]) + 1 + len(name) <= MAX_ARGUMENT:
            arguments[-1] += f",{name}"
        else:
            arguments.append(name)
    return arguments


def _retries() -> list[Json]:
    """What is SageMaker's or a neighbour's fault is tried again; a failure of ours is not."""
    return [
        {
            "ExceptionType": ["Step.SERVICE_FAULT", "Step.THROTTLING"],
            "IntervalSeconds": 30,
            "BackoffRate": 2.0,
            "MaxAttempts": 5,
        },
        {
            "ExceptionType": ["SageMaker.JOB_INTERNAL_ERROR", "SageMaker.CAPACITY_ERROR", "SageMaker.RESOURCE_LIMIT"],
            "IntervalSeconds": 300,
            "BackoffRate": 1.5,
            "MaxAttempts": 4,
        },
    ]


def _prepare(config: ProfileLearning, parts: PipelineParts) -> Json:
    return _processing(
        config,
        parts,
        name="Prepare",
        description="History to training rows; data-quality baseline; what was left out and why",
        module="training.jobs.prepare",
        arguments={
            "--history": f"{PROCESSING}/input/history",
            "--out": f"{PROCESSING}/output",
            "--metrics": _in_arguments([metric.name for metric in parts.metrics]),
            "--declared": wrap(compressed(to_json(parts.metrics)), MAX_ARGUMENT),
            "--window-end": _get(f"Parameters.{WINDOW_END}"),
            "--window-days": str(config.training.window_days),
            "--holdout-days": str(config.training.holdout_days),
            "--feature-dim": str(feature_dim(len(parts.metrics))),
            "--seed": str(config.forest.seed),
            "--group-size": str(parts.group_size),
            "--timezone": parts.timezone,
            **parts.tables,
            **({} if parts.step_s is None else {"--step-s": str(parts.step_s)}),
            **({"--rolling-window-s": str(parts.rolling_window_s)} if parts.rolling_window_s else {}),
        },
        inputs={"history": _get(f"Parameters.{HISTORY}")},
        outputs={
            "train": _run_folder(parts, "train"),
            "fleet": _run_folder(parts, "fleet"),
            "quality": _package_folder(parts, "quality"),
        },
    )


def _train(config: ProfileLearning, parts: PipelineParts) -> Json:
    training = config.training
    stopping: Json = {"MaxRuntimeInSeconds": training.max_runtime_s}
    if training.spot:
        stopping["MaxWaitTimeInSeconds"] = training.spot_wait_s
    return {
        "Name": "Train",
        "Type": "Training",
        "Description": "Random Cut Forest on the training rows",
        "DependsOn": ["Prepare"],
        "Arguments": {
            "AlgorithmSpecification": {"TrainingImage": parts.algorithm_image, "TrainingInputMode": "File"},
            "HyperParameters": {
                "feature_dim": str(feature_dim(len(parts.metrics))),
                "num_trees": _get(f"Parameters.{NUM_TREES}"),
                "num_samples_per_tree": _get(f"Parameters.{NUM_SAMPLES_PER_TREE}"),
            },
            # The built-in algorithm has no seed, and its pages name no variable that it reads.
            **({"Environment": {"SEED": str(config.forest.seed)}} if config.algorithm == "container" else {}),
            "InputDataConfig": [
                {
                    "ChannelName": "train",
                    "ContentType": RECORDIO,
                    "DataSource": {
                        "S3DataSource": {
                            "S3DataType": "S3Prefix",
                            "S3Uri": _join("", _run_folder(parts, "train"), "/"),
                            "S3DataDistributionType": "ShardedByS3Key",
                        }
                    },
                }
            ],
            "OutputDataConfig": {"S3OutputPath": f"s3://{parts.models_bucket}/forests"},
            "ResourceConfig": {
                "InstanceCount": 1,
                "InstanceType": training.instance_type,
                "VolumeSizeInGB": training.volume_gb,
            },
            "StoppingCondition": stopping,
            "EnableManagedSpotTraining": training.spot,
        },
        "RetryPolicies": _retries(),
    }


def _evaluate(config: ProfileLearning, parts: PipelineParts) -> Json:
    limits = config.evaluation
    return _processing(
        config,
        parts,
        name="Evaluate",
        description="Calibration and package; candidate against champion on the held-out history",
        module="training.jobs.evaluate",
        arguments={
            "--fleet": f"{PROCESSING}/input/fleet",
            "--model": f"{PROCESSING}/input/model",
            "--out": f"{PROCESSING}/output",
            "--model-version": model_version(parts),
            "--model-data": _get("Steps.Train.ModelArtifacts.S3ModelArtifacts"),
            "--image": parts.algorithm_image,
            "--role": parts.role_arn,
            "--instance-type": config.training.instance_type,
            "--reason": _get(f"Parameters.{REASON}"),
            "--group": parts.name,
            "--controls-table": parts.tables["--controls-table"],
            "--models-bucket": parts.models_bucket,
            "--policy": parts.policy,
            "--policy-override": _get(f"Parameters.{POLICY_OVERRIDE}"),
            "--seed": str(config.forest.seed),
            "--num-trees": _get(f"Parameters.{NUM_TREES}"),
            "--num-samples-per-tree": _get(f"Parameters.{NUM_SAMPLES_PER_TREE}"),
            "--max-page-rate-ratio": str(limits.max_page_rate_ratio),
            "--max-pages-per-server-week": str(limits.max_pages_per_server_week),
            "--max-recall-loss": str(limits.max_recall_loss),
            "--min-recall": str(limits.min_recall),
            "--page-budget": overrides(config.page_budget),
        },
        inputs={"fleet": _run_folder(parts, "fleet"), "model": _get("Steps.Train.ModelArtifacts.S3ModelArtifacts")},
        outputs={"package": _package_folder(parts)},
    )


def _admit(parts: PipelineParts) -> Json:
    return {
        "Name": "Admit",
        "Type": "Lambda",
        "Description": "All artifacts there, and of the form that the deployed detector reads",
        "DependsOn": ["Evaluate"],
        "FunctionArn": parts.admit_function_arn,
        "Arguments": {
            "model_version": model_version(parts),
            "package_key": _package_key(parts),
            "evaluation_key": _join("/", "packages", model_version(parts), "evaluation.json"),
            "model_data_url": _get("Steps.Train.ModelArtifacts.S3ModelArtifacts"),
        },
        "OutputParameters": [
            {"OutputName": "admitted", "OutputType": "Integer"},
            {"OutputName": "reasons", "OutputType": "String"},
            {"OutputName": "fingerprint", "OutputType": "String"},
        ],
    }


def _package_key(parts: PipelineParts) -> Json:
    return _join("/", "packages", model_version(parts), "package.zip")


def _admitted(name: str) -> Json:
    return _get(f"Steps.Admit.OutputParameters['{name}']")


def _decide(config: ProfileLearning, parts: PipelineParts) -> Json:
    return {
        "Name": "Decide",
        "Type": "Condition",
        "Arguments": {
            "Conditions": [{"Type": "Equals", "LeftValue": _admitted("admitted"), "RightValue": 1}],
            "IfSteps": [_register(config, parts)],
            "ElseSteps": [
                {
                    "Name": "Reject",
                    "Type": "Fail",
                    "Arguments": {"ErrorMessage": _join(": ", "the candidate is not registered", _admitted("reasons"))},
                }
            ],
        },
    }


def _register(config: ProfileLearning, parts: PipelineParts) -> Json:
    def file(*below: str) -> Json:
        return {"ContentType": "application/json", "S3Uri": _package_folder(parts, *below)}

    quality = {"Statistics": file("quality", "statistics.json"), "Constraints": file("quality", "constraints.json")}
    return {
        "Name": "Register",
        "Type": "RegisterModel",
        "Arguments": {
            "ModelPackageGroupName": parts.name,
            "ModelPackageDescription": _join(
                " ", "Treeline", model_version(parts), "because of", _get(f"Parameters.{REASON}")
            ),
            "ModelApprovalStatus": "Approved" if config.approval == "automatic" else "PendingManualApproval",
            "InferenceSpecification": {
                "Containers": [
                    {
                        "Image": parts.algorithm_image,
                        "ModelDataUrl": _get("Steps.Train.ModelArtifacts.S3ModelArtifacts"),
                    }
                ],
                "SupportedContentTypes": ["text/csv"],
                "SupportedResponseMIMETypes": ["application/json"],
                "SupportedRealtimeInferenceInstanceTypes": [
                    "ml.m5.large",
                    "ml.m5.xlarge",
                    "ml.c5.large",
                    "ml.c5.xlarge",
                ],
                "SupportedTransformInstanceTypes": ["ml.m5.large", "ml.m5.xlarge"],
            },
            "ModelMetrics": {"ModelQuality": {"Statistics": file("evaluation.json")}, "ModelDataQuality": quality},
            "CustomerMetadataProperties": {
                "model_version": model_version(parts),
                "package_key": _package_key(parts),
                "fingerprint": _admitted("fingerprint"),
                "reason": _get(f"Parameters.{REASON}"),
                "algorithm": config.algorithm,
            },
        },
    }
