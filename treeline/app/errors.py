"""Errors of the use cases: a dependency that failed, told apart by what is to be done about it."""

from treeline.core.errors import TreelineError


class StoreUnavailableError(TreelineError):
    """A table, bucket or queue cannot take the work now: leave it where it is and let it be retried."""
