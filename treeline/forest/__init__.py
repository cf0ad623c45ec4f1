"""Static Random Cut Forest: fit, score, save, attribute, and serve as SageMaker's built-in does."""
