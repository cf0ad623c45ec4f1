"""The learning loop on the embedded cloud, without a hand: history to model, drift to the next one, or back."""
