"""What AWS documents of the built-in Random Cut Forest, as refusals: what is not documented is not accepted here.

Sources and what nobody could check: docs/decisions/0132-built-in-algorithm.md.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from treeline.core.errors import TreelineError
from treeline.forest import content
from treeline.forest.training import Hyperparameters

_METRICS = {"accuracy", "precision_recall_fscore"}  # values of eval_metrics
# `mini_batch_size` is on no page; the SageMaker SDK 2 sends it with every job of this algorithm.
_HYPERPARAMETERS = {"feature_dim", "num_trees", "num_samples_per_tree", "eval_metrics", "mini_batch_size"}
_INPUT_MODES = ("File", "Pipe")
# Families without a GPU. The algorithm "could technically run on GPU instance types" and does not use them: a mistake
# in the settings, so the stand-in is stricter than AWS. Graviton (a `g` after the generation) is on no page either.
_INSTANCE = re.compile(r"ml\.[cmrt]\d+(?!\w*g)\w*\.\w+")


class JobRefusedError(TreelineError):
    """The built-in algorithm would not run what was asked for, or nothing says that it would."""


def check_job(job: Mapping[str, Any], files: int) -> None:
    """Refuse a training job that the algorithm's pages do not cover.

    Args:
        job: The CreateTrainingJob request.
        files: Objects below the train channel's prefix.

    Raises:
        JobRefusedError: Names the field and the value.
    """
    check_hyperparameters(job.get("HyperParameters", {}))
    check_instance(job["ResourceConfig"]["InstanceType"])
    mode = job["AlgorithmSpecification"]["TrainingInputMode"]
    if mode not in _INPUT_MODES:
        raise JobRefusedError(f"TrainingInputMode {mode} is not one of {', '.join(_INPUT_MODES)}")
    for channel in job["InputDataConfig"]:
        _check_channel(channel)
    instances = job["ResourceConfig"]["InstanceCount"]
    if instances > files:
        raise JobRefusedError(f"{instances} instances share {files} files: some would get no data to train on")


def check_hyperparameters(given: Mapping[str, str]) -> None:
    """Refuse names that are not the algorithm's; UsageError for a value out of its range, as our container says it."""
    unknown = sorted(set(given) - _HYPERPARAMETERS)
    if unknown:
        raise JobRefusedError(f"unknown hyperparameter {unknown[0]}; known are {', '.join(sorted(_HYPERPARAMETERS))}")
    Hyperparameters.parse(given)
    asked = given.get("eval_metrics")
    if asked is not None and not _are_metrics(asked):
        raise JobRefusedError(f"eval_metrics must be a JSON list of {' and '.join(sorted(_METRICS))}, got {asked}")


def check_instance(instance_type: str) -> None:
    """Refuse a GPU, which the algorithm leaves idle, and families of which AWS says nothing."""
    if _INSTANCE.fullmatch(instance_type) is None:
        raise JobRefusedError(f"instance type {instance_type}: this algorithm uses x86 CPUs only (ml.c, ml.m, ml.r)")


def is_unlabelled(content_type: str) -> bool:
    """Whether a train channel's content type is one of the two for rows without a label."""
    kind, parameters = content.media_type(content_type)
    if kind == content.CSV:
        return parameters.get("label_size") == "0"  # left out, the first column would be taken for the label
    return kind == content.RECORDIO


def _check_channel(channel: Mapping[str, Any]) -> None:
    name, source = channel["ChannelName"], channel["DataSource"]["S3DataSource"]
    if name != "train":
        raise JobRefusedError(f"channel {name}: the stand-in computes no test metrics, so it takes train alone")
    distribution = source.get("S3DataDistributionType", "none")
    if distribution != "ShardedByS3Key":
        raise JobRefusedError(
            f"the train channel only supports S3DataDistributionType=ShardedByS3Key, got {distribution}"
        )
    content_type = channel.get("ContentType", "")
    if not is_unlabelled(content_type):
        raise JobRefusedError(
            f"the train channel is {content.RECORDIO} or {content.CSV};label_size=0, got {content_type or 'none'}"
        )


def _are_metrics(text: str) -> bool:
    try:
        names = json.loads(text)
    except ValueError:
        return False
    return isinstance(names, list) and all(isinstance(name, str) and name in _METRICS for name in names)
