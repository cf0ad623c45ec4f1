"""A new model takes over: canary, judgement, cut-over or roll-back."""
