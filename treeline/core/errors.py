"""Every error Treeline raises on purpose. The kind decides what a handler does with it."""


class TreelineError(Exception):
    """Base of all errors that Treeline raises on purpose."""


class UsageError(TreelineError):
    """What a person typed, or a file they named, cannot be used; the command ends with exit code 2."""


class SettingsError(TreelineError):
    """A setting is missing or out of range: our mistake, fail at once."""


class MalformedRecordError(TreelineError):
    """A record breaks the observation contract: count it, set it aside, go on."""


class ScorerUnavailableError(TreelineError):
    """The model endpoint cannot answer now: leave the work where it is and let it be retried."""


class ScorerContractError(TreelineError):
    """The endpoint answered, but not with one finite score a row: a wrong model behind it."""


class ModelMismatchError(TreelineError):
    """A model package and the code, metric set or feature order it meets do not belong together."""


class StateConflictError(TreelineError):
    """Another worker committed this group's state first; what it did stands, ours is redone."""


class PublishError(TreelineError):
    """An alert could not be published; it stays in the outbox and is sent by a later tick."""


class StoreUnavailableError(TreelineError):
    """A table, bucket or queue cannot take the work now: leave it where it is and let it be retried."""
