"""The roles that SageMaker itself takes on: what each action is for, one by one.

Nothing of them is recorded: the embedded SageMaker runs the same jobs, but in the name of nobody. What a job's own code
calls ("Job evaluate ...") is called there too, with the same clients.
"""

from collections.abc import Iterator

PIPELINE, HOSTING = "learning/Pipeline", "learning/PromotionHostingRole"
_LOGS = "arn:aws:logs:us-east-1:AWS::AccountId:log-group:/aws/sagemaker/"
_IMAGE, _CONFIG, _ENDPOINT = (
    "ecr:repository/treeline",
    "endpoint-config/treeline-evaluate-*",
    "endpoint/treeline-evaluate-*",
)
_PACKAGES, _GROUP = "model-package/treeline-STAGE-default/*", "model-package-group/treeline-STAGE-default"

# Of every container that SageMaker starts, for a job and for a model on its endpoint.
_CONTAINER = {
    ("ecr:GetAuthorizationToken", "*"): "SageMaker logs in to the registry with the role before it pulls our image.",
    ("ecr:BatchCheckLayerAvailability", _IMAGE): "SageMaker asks which layers of our image there are, before pulling.",
    ("ecr:BatchGetImage", _IMAGE): "SageMaker reads the manifest of our image when it starts a container.",
    ("ecr:GetDownloadUrlForLayer", _IMAGE): "SageMaker downloads the layers of our image when it starts a container.",
    ("cloudwatch:PutMetricData", "*"): "SageMaker writes the container's utilization; the policy bounds the namespace.",
}
_LOG = {
    "logs:CreateLogGroup": "SageMaker makes the group of its jobs or of its endpoint, with the first container.",
    "logs:CreateLogStream": "SageMaker opens one stream a container in the group it made.",
    "logs:DescribeLogStreams": "SageMaker looks for the container's stream before it opens one.",
    "logs:PutLogEvents": "SageMaker writes what the container prints to its stream.",
}
_PIPELINE = {
    (
        "dynamodb:GetItem",
        "state/Controls",
    ): "Job evaluate reads which model is active, to hold the candidate against it.",
    ("dynamodb:Query", "state/Controls"): "Job prepare reads maintenance windows and labels, to leave them out.",
    ("dynamodb:Scan", "state/Servers"): "Job prepare reads every server's group, time zone and other labels.",
    ("dynamodb:Query", "state/Incidents/index/by-state"): "Job prepare reads incidents, to leave them out of training.",
    (
        "iam:PassRole",
        "learning/TrainingRole",
    ): "The pipeline hands the role to the jobs that it starts; to SageMaker only.",
    (
        "lambda:InvokeFunction",
        "learning/AdmitFunction",
    ): "The pipeline's Lambda step has the candidate checked by admit.",
    ("s3:GetObject", "learning/TrainingData/history/*"): "SageMaker copies the history into job prepare's container.",
    (
        "s3:GetObject",
        "learning/TrainingData/runs/*",
    ): "SageMaker copies what one step of a run wrote into the next one's.",
    (
        "s3:PutObject",
        "learning/TrainingData/runs/*",
    ): "SageMaker stores what a step of the run leaves in its output folder.",
    ("s3:GetObject", "state/Models/*"): "Job evaluate reads artifacts and packages of the candidate and the champion.",
    ("s3:ListBucket", "learning/TrainingData"): "SageMaker lists the files below a job's input before it copies them.",
    ("s3:ListBucket", "state/Models"): "SageMaker lists the files below a job's input before it copies them.",
    ("s3:PutObject", "state/Models/forests/*"): "SageMaker stores the trained forest where the training job says.",
    ("s3:PutObject", "state/Models/packages/*"): "SageMaker stores the model package that job evaluate leaves.",
    (
        "sagemaker:CreateModelPackage",
        f"sagemaker:{_PACKAGES}",
    ): "The register step makes the version that a run leads to.",
    ("sagemaker:CreateModelPackage", f"sagemaker:{_GROUP}"): "The register step puts the version into the group.",
    (
        "sagemaker:DescribeModelPackage",
        f"sagemaker:{_PACKAGES}",
    ): "The register step waits until the version is complete.",
    ("sagemaker:ListModelPackages", "*"): "The register step looks what the group holds; the action has no resource.",
    ("sagemaker:AddTags", f"sagemaker:{_PACKAGES}"): "A pipeline tags the version with the execution that made it.",
    (
        "sagemaker:CreateModel",
        "sagemaker:model/treeline-evaluate-*",
    ): "Job evaluate hosts a candidate, to score with it.",
    ("sagemaker:DeleteModel", "sagemaker:model/treeline-evaluate-*"): "Job evaluate takes away the model it hosted.",
    (
        "sagemaker:CreateEndpointConfig",
        f"sagemaker:{_CONFIG}",
    ): "Job evaluate describes the endpoint it is about to make.",
    (
        "sagemaker:DeleteEndpointConfig",
        f"sagemaker:{_CONFIG}",
    ): "Job evaluate takes the configuration of its endpoint away.",
    (
        "sagemaker:CreateEndpoint",
        f"sagemaker:{_ENDPOINT}",
    ): "Job evaluate makes the endpoint that scores the held-out part.",
    (
        "sagemaker:CreateEndpoint",
        f"sagemaker:{_CONFIG}",
    ): "Making an endpoint names the configuration, a resource of its own.",
    ("sagemaker:DescribeEndpoint", f"sagemaker:{_ENDPOINT}"): "Job evaluate waits until its endpoint is in service.",
    ("sagemaker:InvokeEndpoint", f"sagemaker:{_ENDPOINT}"): "Job evaluate scores the held-out part with the candidate.",
    ("sagemaker:DeleteEndpoint", f"sagemaker:{_ENDPOINT}"): "Job evaluate takes its endpoint away before it ends.",
}
_JOBS = {
    "Create": "The pipeline starts the step's job; SageMaker names it by the pipeline.",
    "Describe": "The pipeline looks how the step's job is getting on, and what it left.",
    "Stop": "The pipeline stops the step's job when its execution is stopped.",
}
_HOSTING = {
    ("s3:GetObject", "state/Models/*"): "SageMaker copies a model's artifact into the container that serves it.",
    (
        "s3:PutObject",
        "state/Models/capture/*",
    ): "SageMaker stores the sample of requests it captures, where that is on.",
}


def reasons() -> Iterator[tuple[tuple[str, str, str], str]]:
    """(caller, action, resource) and what it is for."""
    for caller in (PIPELINE, HOSTING):
        for (action, resource), reason in _CONTAINER.items():
            yield (caller, action, resource), reason
    for action, reason in _LOG.items():
        yield (PIPELINE, action, f"{_LOGS}*"), reason
        yield (HOSTING, action, f"{_LOGS}Endpoints/*"), reason
    for kind in ("Processing", "Training"):
        resource = f"sagemaker:{kind.lower()}-job/pipelines-*"
        for verb, reason in _JOBS.items():
            yield (PIPELINE, f"sagemaker:{verb}{kind}Job", resource), reason
        yield (PIPELINE, "sagemaker:AddTags", resource), "A pipeline tags a step's job with the execution that made it."
    for (action, resource), reason in _PIPELINE.items():
        yield (PIPELINE, action, resource), reason
    for (action, resource), reason in _HOSTING.items():
        yield (HOSTING, action, resource), reason
