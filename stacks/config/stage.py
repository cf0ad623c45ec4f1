"""What differs between stages: `config/<stage>.yaml` as frozen dataclasses, checked before use."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from stacks.config.learning import ANALYZER_ACCOUNTS, BUILT_IN_ACCOUNTS, LearningConfig, ProfileLearning
from stacks.config.profiles import ProfileConfig
from stacks.config.sections import DataConfig, FunctionConfig, LogsConfig, NotificationsConfig, PagerDutyConfig
from stacks.config.security import OWN_KEY, EncryptionConfig, NetworkConfig
from treeline.core.errors import SettingsError
from treeline.core.setting import WrongSettingError, setting
from treeline.settings.outputs import all_parts, stack_name
from treeline.settings.values import read

CONFIG_FOLDER = Path(__file__).resolve().parents[2] / "config"

# SQS refuses more, and a mapping asks for a visibility of 6 x the function's timeout.
MAX_VISIBILITY_S = 43_200
VISIBILITY_FACTOR = 6
# What a further profile does not take over from the top of the file: it is one profile's only, or the servers'.
NOT_INHERITED = {"detection": ("endpoint_name",), "learning": ("profile", "history_days", "model_monitor_baseline")}


@dataclass(frozen=True, kw_only=True)
class StageConfig(ProfileConfig):
    """One deployment of Treeline. What a profile has, stands here for the servers' profile."""

    stage: str
    region: str = setting("us-east-1", meaning="AWS region, such as us-east-1.")
    pagerduty: PagerDutyConfig = setting(PagerDutyConfig, meaning="Pages.")
    notifications: NotificationsConfig = setting(NotificationsConfig, meaning="Mail.")
    data: DataConfig = setting(DataConfig, meaning="What a deletion takes.")
    logs: LogsConfig = setting(LogsConfig, meaning="Log groups.")
    learning: LearningConfig = setting(LearningConfig, meaning="From history to a model.")
    encryption: EncryptionConfig = setting(EncryptionConfig, meaning="Keys.")
    network: NetworkConfig = setting(NetworkConfig, meaning="VPC.")
    profiles: Mapping[str, ProfileConfig] = setting(
        dict,
        meaning="Further profiles by name, 1-32 of a-z, 0-9 and inner -: each has stacks of its own; what it leaves "
        "out is as at the top of the file.",
    )

    @property
    def further(self) -> str:
        """Name of the further profile as whose stacks see the stage; empty: the servers' profile."""
        return ""

    @property
    def further_profiles(self) -> tuple["FurtherProfile", ...]:
        """The stage as the stacks of each further profile see it, by name."""
        return tuple(self._further(name, config) for name, config in sorted(self.profiles.items()))

    @property
    def all_profiles(self) -> tuple["StageConfig", ...]:
        """The stage as the stacks of each profile see it, the servers' first."""
        return (self, *self.further_profiles)

    @property
    def parts(self) -> list[str]:
        """Every part of the stage, those of further profiles too."""
        return all_parts(sorted(self.profiles))

    @property
    def deployment(self) -> str:
        """What functions, their metrics and pages call it: the stage, or `STAGE/PROFILE`."""
        return f"{self.stage}/{self.further}" if self.further else self.stage

    @property
    def endpoint_name(self) -> str:
        """Name of the SageMaker endpoint that detect asks, empty where the scorer is embedded; no stack owns it."""
        if self.is_embedded:
            return ""
        return self.detection.endpoint_name or "-".join(filter(None, ("treeline", self.stage, self.further)))

    @property
    def pipeline_name(self) -> str:
        """Name of the training pipeline and of its registry group."""
        return stack_name(self.stage, self.learning.profile)

    def visibility_s(self, function: FunctionConfig, batching_window_s: int = 0) -> int:
        """Visibility timeout of a queue whose mapping invokes `function`, seconds."""
        return VISIBILITY_FACTOR * function.timeout_s + batching_window_s

    def check(self) -> None:
        """What no section can say alone."""
        super().check()
        if not re.fullmatch(r"[a-z]{2}(-[a-z]+)+-\d", self.region):
            raise WrongSettingError("region", f"must be an AWS region such as us-east-1, got {self.region!r}")
        # SageMaker takes 63; promotion adds a hash for the names of the endpoint's configurations.
        if not self.is_embedded and not re.fullmatch(r"(?=.{1,54}$)[a-zA-Z0-9](-*[a-zA-Z0-9])*", self.endpoint_name):
            raise WrongSettingError(
                "detection.endpoint_name", f"must be 1-54 letters, digits and -, got {self.endpoint_name!r}"
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
        if not re.fullmatch(r"[a-z0-9](-*[a-z0-9]){0,31}", self.learning.profile):
            raise WrongSettingError(
                "learning.profile", f"must be 1-32 of a-z, 0-9 and inner -, got {self.learning.profile!r}"
            )
        if self.learning.algorithm == "built-in" and self.region not in BUILT_IN_ACCOUNTS:
            raise WrongSettingError(
                "learning.algorithm", f"no built-in Random Cut Forest is known for {self.region}; use container"
            )
        self._check_scorer()
        self._check_profiles()

    def _check_scorer(self) -> None:
        """What needs an endpoint has one."""
        if not self.is_embedded:
            return
        if self.learning.algorithm == "built-in":
            raise WrongSettingError(
                "scorer",
                "embedded reads the forest of our container; what SageMaker's built-in algorithm leaves, only its own "
                "container can read: set learning.algorithm to container, or scorer to endpoint",
            )
        if self.learning.model_monitor_baseline:
            raise WrongSettingError(
                "learning.model_monitor_baseline", "needs what an endpoint captures, and there is none: scorer embedded"
            )

    def _check_profiles(self) -> None:
        endpoints = {self.endpoint_name.lower()}
        for name in sorted(self.profiles):
            at = f"profiles.{name}"
            if name == self.learning.profile:
                raise WrongSettingError(at, "is the servers' profile: its keys stand at the top of the file")
            try:
                endpoint = self._further(name, self.profiles[name]).endpoint_name.lower()
            except WrongSettingError as error:
                key, why = (at, error.why) if error.key == "learning.profile" else (f"{at}.{error.key}", error.why)
                raise WrongSettingError(key, why) from error
            if endpoint and endpoint in endpoints:
                raise WrongSettingError(f"{at}.detection.endpoint_name", f"is another profile's too: {endpoint!r}")
            endpoints.add(endpoint)

    def _further(self, name: str, config: ProfileConfig) -> "FurtherProfile":
        values = {spec.name: getattr(self, spec.name) for spec in fields(self)}
        values |= {spec.name: getattr(config, spec.name) for spec in fields(ProfileConfig)} | {"profiles": {}}
        learning = {spec.name: getattr(config.learning, spec.name) for spec in fields(ProfileLearning)}
        return FurtherProfile(**values | {"learning": LearningConfig(**learning, profile=name)})


@dataclass(frozen=True, kw_only=True)
class FurtherProfile(StageConfig):
    """A stage as the stacks of one of its further profiles see it."""

    @property
    def further(self) -> str:
        """See StageConfig."""
        return self.learning.profile


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
    return read(StageConfig, {**_inherited(raw), "stage": stage}, source)


def _inherited(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """The file with what each further profile leaves out filled in from the top."""
    further = raw.get("profiles")
    if not isinstance(further, Mapping):
        return raw
    shared = {spec.name: raw[spec.name] for spec in fields(ProfileConfig) if spec.name in raw}
    for section, keys in NOT_INHERITED.items():
        if isinstance(shared.get(section), Mapping):
            shared[section] = {key: value for key, value in shared[section].items() if key not in keys}
    return {
        **raw,
        "profiles": {n: merged(shared, own) if isinstance(own, Mapping) else own for n, own in further.items()},
    }


def merged(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """`overrides` laid over `base`: mappings are merged key by key, everything else is replaced."""
    result = dict(base)
    for key, value in overrides.items():
        below = result.get(key)
        result[key] = merged(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return result
