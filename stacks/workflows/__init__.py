"""Documents that AWS executes: the training pipeline and the promotion state machine."""
