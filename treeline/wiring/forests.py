"""The forests that are asked in a function itself, where a profile's scorer is embedded."""

from treeline.aws.client_types import S3Client
from treeline.aws.detect.embedded import ModelForests


def embedded_forests(s3: S3Client) -> ModelForests:
    """The forests of the models that decide, as workers keep them."""
    # Imported where it is needed: a function that asks an endpoint starts without the forest's code.
    from treeline.forest.storage import read_model_tar

    # numpy's kernel by name: numba is not in a function's zip, and where it is installed its import takes a second.
    return ModelForests(s3, lambda data: read_model_tar(data, kernel="numpy").score)
