"""The learning loop in event time: history to model, drift to the next one, or back."""
