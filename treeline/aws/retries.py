"""When an AWS call is worth repeating, and how long to wait before."""

from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError, HTTPClientError

# Error codes of a service that is busy or broken for the moment; the same call may well succeed later.
_TRANSIENT_CODES = frozenset(
    {
        "InternalFailure",
        "InternalServerError",
        "KMSThrottlingException",
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TransactionConflictException",
        "TransactionInProgressException",
    }
)


def error_code(error: ClientError) -> str:
    """The service's own code of an error."""
    return error.response.get("Error", {}).get("Code", "")


def is_transient(error: ClientError | BotoCoreError) -> bool:
    """Whether the call failed for now only: throttled, 5xx, or no answer."""
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return error_code(error) in _TRANSIENT_CODES or status >= 500
    return isinstance(error, EndpointConnectionError | HTTPClientError)


def full_jitter_s(attempt: int, *, base_s: float, cap_s: float, random: float) -> float:
    """Seconds to wait after `attempt` attempts: uniform up to a bound that doubles from `base_s` to `cap_s`.

    `random` is a number in [0, 1).
    """
    # The exponent is cut as 2.0**1024 overflows; the cap has long taken over by then.
    return random * min(cap_s, base_s * 2.0 ** min(attempt - 1, 60))
