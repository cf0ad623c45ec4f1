"""Refusing stored formats that this code does not read."""

from treeline.core.errors import ModelMismatchError


def require_format(what: str, found: object, *, newest: int, oldest: int = 1) -> int:
    """The format number of something stored, when this code reads it.

    Args:
        what: What was read, in an operator's words.
        found: The number as stored.
        newest: The format that this code writes.
        oldest: The oldest one that it still reads.

    Raises:
        ModelMismatchError: Written by a newer version, by one too old, or no number at all.
    """
    if isinstance(found, int) and found > newest:
        raise ModelMismatchError(
            f"{what} was written by a newer Treeline (format {found}, this code reads up to {newest}): "
            "deploy the newer version again, or see 'Going back' in docs/upgrade.md"
        )
    if not isinstance(found, int) or found < oldest:
        raise ModelMismatchError(f"{what} has format {found!r}, this code reads {oldest} to {newest}")
    return found
