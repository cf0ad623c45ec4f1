"""The composition root: which adapters each function's use case is given."""
