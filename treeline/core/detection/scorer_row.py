"""How wide a scorer row is, for those who must say so before there is one: the training pipeline's definition."""


def feature_dim(metrics: int) -> int:
    """Columns of a scorer row, SageMaker's `feature_dim`, for a profile of so many metrics; see `feature_names`."""
    return 2 * metrics
