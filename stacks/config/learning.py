"""Settings of the learning loop: `learning` in `config/<stage>.yaml`."""

from dataclasses import dataclass, field

from stacks.config.fields import bounded, one_of

# Account that publishes SageMaker's built-in Random Cut Forest, by region (AWS facts, section 1.5).
BUILT_IN_ACCOUNTS = {
    "af-south-1": "455444449433", "ap-east-1": "286214385809", "ap-northeast-1": "351501993468",
    "ap-northeast-2": "835164637446", "ap-northeast-3": "867004704886", "ap-south-1": "991648021394",
    "ap-south-2": "628508329040", "ap-southeast-1": "475088953585", "ap-southeast-2": "712309505854",
    "ap-southeast-3": "951798379941", "ap-southeast-4": "106583098589", "ca-central-1": "469771592824",
    "ca-west-1": "190319476487", "eu-central-1": "664544806723", "eu-central-2": "680994064768",
    "eu-north-1": "669576153137", "eu-south-1": "257386234256", "eu-south-2": "104374241257",
    "eu-west-1": "438346466558", "eu-west-2": "644912444149", "eu-west-3": "749696950732",
    "il-central-1": "898809789911", "me-central-1": "272398656194", "me-south-1": "249704162688",
    "sa-east-1": "855470959533", "us-east-1": "382416733822", "us-east-2": "404615174143",
    "us-west-1": "632365934929", "us-west-2": "174872318107",
}  # fmt: skip
# Accounts that publish Model Monitor's analyzer, by region (AWS facts, section 1.5).
ANALYZER_ACCOUNTS = {
    "ap-northeast-1": "574779866223",
    "ap-south-1": "126357580389",
    "ap-southeast-1": "245545462676",
    "ap-southeast-2": "563025443158",
    "ca-central-1": "536280801234",
    "eu-central-1": "048819808253",
    "eu-north-1": "895015795356",
    "eu-west-1": "468650794304",
    "eu-west-2": "749857270468",
    "eu-west-3": "680080141114",
    "sa-east-1": "539772159869",
    "us-east-1": "156813124566",
    "us-east-2": "777275614652",
    "us-west-1": "890145073186",
    "us-west-2": "159807026194",
}
ALGORITHMS = ("container", "built-in")
APPROVALS = ("automatic", "manual")


@dataclass(frozen=True, slots=True, kw_only=True)
class ForestConfig:
    """Hyperparameters of the Random Cut Forest; the ranges are the built-in algorithm's."""

    num_trees: int = bounded(100, 50, 1000)
    num_samples_per_tree: int = bounded(512, 1, 2048)
    seed: int = bounded(1, 0, 2**31 - 1)  # of our container and of the choice of rows; the built-in has none


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """What a training run reads and what it runs on."""

    window_days: float = bounded(28.0, 1.0, 455.0)  # history a model learns from, counted from the held-out part back
    holdout_days: float = bounded(3.0, 0.25, 30.0)  # the newest history, kept for the evaluation
    instance_type: str = "ml.m5.large"  # of the training job
    processing_instance_type: str = "ml.m5.xlarge"  # of prepare and evaluate
    volume_gb: int = bounded(30, 5, 1024)
    max_runtime_s: int = bounded(3600, 300, 86_400)
    spot: bool = True
    # Without checkpoints, which neither algorithm writes, SageMaker allows an hour of waiting for spot capacity.
    spot_wait_s: int = bounded(3600, 300, 3600)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationConfig:
    """When a candidate may be registered; compared with the champion on the same held-out history."""

    max_page_rate_ratio: float = bounded(2.0, 1.0, 100.0)  # candidate's pages a server and week over the champion's
    max_pages_per_server_week: float = bounded(
        2.0, 0.0, 1000.0
    )  # what needs no comparison; also the first model's limit
    max_recall_loss: float = bounded(0.1, 0.0, 1.0)  # share of the same injected faults found, champion minus candidate
    min_recall: float = bounded(0.5, 0.0, 1.0)  # of the injected faults; a model that sees nothing pages nobody


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningConfig:
    """From history to a registered model."""

    profile: str = "default"  # names the pipeline and the registry's group: treeline-<stage>-<profile>
    algorithm: str = one_of("container", ALGORITHMS)
    # Our container (container/Dockerfile): runs prepare and evaluate, and with algorithm "container" trains and serves.
    # Empty: the repository `treeline`, tag `latest`, of the deploying account and region.
    image: str = ""
    approval: str = one_of("automatic", APPROVALS)
    history_days: int | None = bounded(None, 1, 455)  # a Batch job that fetches so much from CloudWatch; null: none
    retraining_days: int | None = bounded(None, 1, 365)  # a schedule beside drift; null: drift alone decides
    # Only for accounts that already had SageMaker Model Monitor (closed to new customers): S3 address of the folder
    # packages/<model>/quality/features, after the first promotion. Empty: off.
    model_monitor_baseline: str = ""
    forest: ForestConfig = field(default_factory=ForestConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
