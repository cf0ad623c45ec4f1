"""What differs between stages: `config/<stage>.yaml` as frozen dataclasses, checked before use."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from stacks.config.learning import ANALYZER_ACCOUNTS, BUILT_IN_ACCOUNTS, LearningConfig
from stacks.config.profiles import Profile, ProfileConfig
from stacks.config.promotion import DriftConfig, PromotionConfig
from stacks.config.sections import (
    DataConfig,
    DetectionConfig,
    FunctionConfig,
    FunctionsConfig,
    LogsConfig,
    NotificationsConfig,
    PagerDutyConfig,
    RecordsConfig,
    StreamConfig,
    TablesConfig,
    TicksConfig,
)
from stacks.config.security import OWN_KEY, EncryptionConfig, NetworkConfig
from treeline.core.detection.policy_settings import PolicySettings
from treeline.core.errors import SettingsError
from treeline.core.setting import WrongSettingError, setting
from treeline.settings.pipeline import Grouping, Telling
from treeline.settings.values import read

CONFIG_FOLDER = Path(__file__).resolve().parents[2] / "config"

# SQS refuses more, and a mapping asks for a visibility of 6 x the function's timeout.
MAX_VISIBILITY_S = 43_200
VISIBILITY_FACTOR = 6


@dataclass(frozen=True, kw_only=True)
class StageConfig(ProfileConfig, Grouping, Telling):
    """One deployment of Treeline. What a profile has, stands here for the servers' profile."""

    stage: str
    region: str = setting("us-east-1", meaning="AWS region, such as us-east-1.")
    stream: StreamConfig = setting(StreamConfig, meaning="The stream of observations.")
    records: RecordsConfig = setting(RecordsConfig, meaning="What is accepted.")
    tables: TablesConfig = setting(TablesConfig, meaning="How tables are paid.")
    ticks: TicksConfig = setting(TicksConfig, meaning="Work for detect.")
    detection: DetectionConfig = setting(DetectionConfig, meaning="How detect decides.")
    functions: FunctionsConfig = setting(FunctionsConfig, meaning="Sizes.")
    pagerduty: PagerDutyConfig = setting(PagerDutyConfig, meaning="Pages.")
    notifications: NotificationsConfig = setting(NotificationsConfig, meaning="Mail.")
    data: DataConfig = setting(DataConfig, meaning="What a deletion takes.")
    logs: LogsConfig = setting(LogsConfig, meaning="Log groups.")
    learning: LearningConfig = setting(LearningConfig, meaning="From history to a model.")
    promotion: PromotionConfig = setting(PromotionConfig, meaning="From a model to the one that decides.")
    drift: DriftConfig = setting(DriftConfig, meaning="When a model is replaced.")
    encryption: EncryptionConfig = setting(EncryptionConfig, meaning="Keys.")
    network: NetworkConfig = setting(NetworkConfig, meaning="VPC.")
    profiles: Mapping[str, ProfileConfig] = setting(
        dict,
        meaning="Further profiles by name, 1-32 of a-z, 0-9 and inner -: trained and registered beside the servers', "
        "from the history below `history-NAME/`; what they leave out has the default.",
    )

    @property
    def endpoint_name(self) -> str:
        """Name of the SageMaker endpoint that detect asks; no stack owns it."""
        return self.detection.endpoint_name or f"treeline-{self.stage}"

    @property
    def servers_profile(self) -> Profile:
        """The profile that detect decides by."""
        return Profile(self.stage, self.learning.profile, self, self.detection.policy, is_detected=True)

    @property
    def all_profiles(self) -> tuple[Profile, ...]:
        """The servers' profile, then the further ones by name."""
        further = sorted(self.profiles.items())
        policy = PolicySettings()
        return (self.servers_profile, *(Profile(self.stage, n, c, policy, is_detected=False) for n, c in further))

    @property
    def pipeline_name(self) -> str:
        """Name of the servers' training pipeline and of its registry group."""
        return self.servers_profile.pipeline_name

    def visibility_s(self, function: FunctionConfig, batching_window_s: int = 0) -> int:
        """Visibility timeout of a queue whose mapping invokes `function`, seconds."""
        return VISIBILITY_FACTOR * function.timeout_s + batching_window_s

    def check(self) -> None:
        """What no section can say alone."""
        super().check()
        if not re.fullmatch(r"[a-z]{2}(-[a-z]+)+-\d", self.region):
            raise WrongSettingError("region", f"must be an AWS region such as us-east-1, got {self.region!r}")
        if not re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", self.endpoint_name):
            raise WrongSettingError(
                "detection.endpoint_name", f"must be 1-63 letters, digits and -, got {self.endpoint_name!r}"
            )
        for name, window_s in (("detect", self.ticks.batching_window_s), ("notify_pagerduty", 0)):
            visibility_s = self.visibility_s(getattr(self.functions, name), window_s)
            if visibility_s > MAX_VISIBILITY_S:
                raise WrongSettingError(
                    f"functions.{name}.timeout_s", f"its queue would need {visibility_s} s of visibility"
                )
        if not self.encryption.fits(self.region):
            raise WrongSettingError(
                "encryption.key",
                f"must be empty, {OWN_KEY} or the ARN of a key (no alias) in {self.region}, "
                f"got {self.encryption.key!r}",
            )
        baseline = self.learning.model_monitor_baseline
        if baseline and not (baseline.startswith("s3://") and self.region in ANALYZER_ACCOUNTS):
            raise WrongSettingError(
                "learning.model_monitor_baseline", "must be an s3:// address, in a region that has the analyzer"
            )
        step_s, silent_after_s = self.step_s, self.detection.silent_after_s
        if step_s is not None and silent_after_s < 3 * step_s:
            raise WrongSettingError(
                "detection.silent_after_s",
                f"must be at least three steps ({3 * step_s}) where step_s is {step_s}, got {silent_after_s}",
            )
        self._check_profiles()

    def _check_profiles(self) -> None:
        if self.learning.profile in self.profiles:
            raise WrongSettingError(
                f"profiles.{self.learning.profile}", "is the servers' profile: its keys stand at the top of the file"
            )
        for profile in self.all_profiles:
            at = "" if profile.is_detected else f"profiles.{profile.name}."
            if not re.fullmatch(r"[a-z0-9](-*[a-z0-9]){0,31}", profile.name):
                key = "learning.profile" if profile.is_detected else f"profiles.{profile.name}"
                raise WrongSettingError(key, f"must be 1-32 of a-z, 0-9 and inner -, got {profile.name!r}")
            if profile.config.learning.algorithm == "built-in" and self.region not in BUILT_IN_ACCOUNTS:
                raise WrongSettingError(
                    f"{at}learning.algorithm",
                    f"no built-in Random Cut Forest is known for {self.region}; use container",
                )


def load(stage: str, overrides: Mapping[str, Any] | None = None, *, folder: Path = CONFIG_FOLDER) -> StageConfig:
    """Read `<folder>/<stage>.yaml`, merge `overrides` over it (see `merged`) and check it.

    Raises:
        SettingsError: No such stage, no YAML mapping, or a value that cannot be; names file and key.
    """
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,19}", stage):
        raise SettingsError(f"a stage is named by 1-20 of a-z, 0-9 and -, starting with a letter, got {stage!r}")
    path = folder / f"{stage}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in folder.glob("*.yaml"))) or "none"
        raise SettingsError(f"no config/{path.name}; stages with a file: {known}")
    source = f"config/{path.name}"
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise SettingsError(f"{source}: not YAML: {str(error).splitlines()[-1].strip()}") from error
    raw = {} if raw is None else raw
    if not isinstance(raw, dict):
        raise SettingsError(f"{source}: must be a mapping of settings, got {type(raw).__name__}")
    if overrides:
        raw, source = merged(raw, overrides), f"{source} with overrides"
    if "stage" in raw:
        raise SettingsError(f"{source}: stage: the file's name says it, remove the key")
    return read(StageConfig, {**raw, "stage": stage}, source)


def merged(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """`overrides` laid over `base`: mappings are merged key by key, everything else is replaced."""
    result = dict(base)
    for key, value in overrides.items():
        below = result.get(key)
        result[key] = merged(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return result
