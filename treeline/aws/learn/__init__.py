"""Roll-ups, the model registry, the training pipeline."""
