"""A SageMaker-compatible control plane and runtime whose jobs fit, and whose endpoints score with, our forest."""
