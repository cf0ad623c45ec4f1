"""From a history to what a model learns from."""
