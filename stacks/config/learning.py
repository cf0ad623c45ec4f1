"""Settings of the learning loop: `learning` in `config/<stage>.yaml`."""

from dataclasses import dataclass

from treeline.core.setting import Settings, WrongSettingError, setting
from treeline.settings.learning import PageBudget

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
    "ap-northeast-1": "574779866223", "ap-south-1": "126357580389", "ap-southeast-1": "245545462676",
    "ap-southeast-2": "563025443158", "ca-central-1": "536280801234", "eu-central-1": "048819808253",
    "eu-north-1": "895015795356", "eu-west-1": "468650794304", "eu-west-2": "749857270468",
    "eu-west-3": "680080141114", "sa-east-1": "539772159869", "us-east-1": "156813124566",
    "us-east-2": "777275614652", "us-west-1": "890145073186", "us-west-2": "159807026194",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ForestConfig(Settings):
    """Hyperparameters of the Random Cut Forest; the ranges are the built-in algorithm's."""

    num_trees: int = setting(100, low=50, high=1000, meaning="Trees.")
    num_samples_per_tree: int = setting(512, low=1, high=2048, meaning="Training rows that each tree holds.")
    seed: int = setting(
        1,
        low=0,
        high=2**31 - 1,
        meaning="Of our container and of the choice of training rows; the built-in algorithm has none.",
    )


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(Settings):
    """What a training run reads and what it runs on."""

    window_days: float = setting(
        28.0, low=1.0, high=455.0, meaning="History a model learns from, counted from the held-out part back."
    )
    holdout_days: float = setting(3.0, low=0.25, high=30.0, meaning="The newest history, kept for the evaluation.")
    instance_type: str = setting("ml.m5.large", meaning="Of the training job.")
    processing_instance_type: str = setting("ml.m5.xlarge", meaning="Of prepare and evaluate.")
    volume_gb: int = setting(30, low=5, high=1024, meaning="Disk of each job.")
    max_runtime_s: int = setting(3600, low=300, high=86_400, meaning="A job that takes longer is stopped.")
    spot: bool = setting(True, meaning="Train on spot capacity.")
    spot_wait_s: int = setting(
        3600,
        low=300,
        high=3600,
        meaning="Longest wait for spot capacity and run together; without checkpoints, which neither algorithm "
        "writes, SageMaker allows an hour.",
    )

    def check(self) -> None:
        """The wait counts the run too."""
        if self.spot and self.max_runtime_s > self.spot_wait_s:
            raise WrongSettingError("spot_wait_s", "counts the run too: must not be below max_runtime_s")


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig(Settings):
    """When a candidate may be registered; compared with the champion on the same held-out history."""

    max_page_rate_ratio: float = setting(
        2.0, low=1.0, high=100.0, meaning="Pages a server and week, candidate over champion."
    )
    max_pages_per_server_week: float = setting(
        2.0, low=0.0, high=1000.0, meaning="What needs no comparison; also the first model's limit."
    )
    max_recall_loss: float = setting(
        0.1, low=0.0, high=1.0, meaning="Share of the same injected faults found, champion minus candidate."
    )
    min_recall: float = setting(
        0.5, low=0.0, high=1.0, meaning="Share of the injected faults found; a model that sees nothing pages nobody."
    )


@dataclass(frozen=True, kw_only=True)
class ProfileLearning(Settings):
    """From history to a registered model."""

    algorithm: str = setting(
        "container",
        choices=("container", "built-in"),
        meaning="Who trains and serves: our container (container/Dockerfile) or SageMaker's Random Cut Forest.",
    )
    image: str = setting(
        "",
        meaning="URI of our container, which also runs prepare and evaluate; empty: the repository `treeline`, tag "
        "`latest`, of the deploying account and region.",
    )
    approval: str = setting(
        "automatic", choices=("automatic", "manual"), meaning="Who approves what evaluation lets through."
    )
    retraining_days: int | None = setting(
        None, low=1, high=365, meaning="A schedule of training runs beside drift; null: drift alone decides."
    )
    forest: ForestConfig = setting(ForestConfig, meaning="Hyperparameters.")
    training: TrainingConfig = setting(TrainingConfig, meaning="What a run reads, and on what.")
    evaluation: EvaluationConfig = setting(EvaluationConfig, meaning="When a candidate may be registered.")
    page_budget: PageBudget = setting(PageBudget, meaning="Pages that thresholds are raised to.")


@dataclass(frozen=True, kw_only=True)
class LearningConfig(ProfileLearning):
    """From history to a registered model."""

    profile: str = setting(
        "default", meaning="Name of this profile, part of the pipeline's name: 1-32 of a-z, 0-9 and inner -."
    )
    history_days: int | None = setting(
        None, low=1, high=455, meaning="A Batch job that fetches so much history from CloudWatch; null: none."
    )
    model_monitor_baseline: str = setting(
        "",
        meaning="Only for accounts that already had SageMaker Model Monitor (closed to new customers): S3 address of "
        "the folder packages/MODEL/quality/features, after the first promotion; empty: off.",
    )
