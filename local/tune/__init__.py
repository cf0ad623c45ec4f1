"""`treeline tune`: search over forest and pipeline settings, every trial in MLflow."""
