"""Trials in MLflow: a local SQLite store, or a managed one by its address."""

import os
from pathlib import Path
from typing import Any, Self

from training.evaluate.tune import Scored
from treeline.core.errors import UsageError

MISSING = "treeline tune needs mlflow and optuna: install the extra `tune`"


class Tracking:
    """One parent run, one nested run a trial."""

    def __init__(self, folder: Path, uri: str | None, experiment: str, facts: dict[str, Any]) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        try:
            import mlflow
            from mlflow.exceptions import MlflowException
        except ModuleNotFoundError as error:
            raise UsageError(MISSING) from error
        self._mlflow: Any = mlflow
        self.uri = uri or f"sqlite:///{(folder / 'mlflow.db').absolute()}"
        try:
            mlflow.set_tracking_uri(self.uri)
            if mlflow.get_experiment_by_name(experiment) is None:
                location = None if uri else (folder / "artifacts").absolute().as_uri()
                mlflow.create_experiment(experiment, artifact_location=location)
            mlflow.set_experiment(experiment)
        except (MlflowException, OSError) as error:
            raise UsageError(f"--tracking-uri {self.uri}: {' '.join(str(error).split())[:300]}") from error
        self._facts = facts

    def __enter__(self) -> Self:
        """Open the parent run."""
        self._mlflow.start_run(run_name="tune", tags={name: str(value) for name, value in self._facts.items()})
        return self

    def trial(self, number: int, scored: Scored) -> None:
        """Keep one trial."""
        with self._mlflow.start_run(run_name=f"trial-{number:03d}", nested=True):
            self._mlflow.log_params({name: getattr(scored.trial, name) for name in scored.trial.__dataclass_fields__})
            self._mlflow.log_metrics(scored.metrics())

    def finish(self, best: Scored, files: list[Path]) -> None:
        """Keep the best trial's figures and the pictures with the parent run."""
        self._mlflow.log_metrics({f"best_{name}": value for name, value in best.metrics().items()})
        for file in files:
            self._mlflow.log_artifact(str(file))

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Close the parent run."""
        self._mlflow.end_run("FINISHED" if kind is None else "FAILED")
