"""Errors as SageMaker answers them."""

from dataclasses import dataclass, field


@dataclass
class ServiceError(Exception):
    """An answer other than success: error code, message, HTTP status, and further body fields."""

    code: str
    message: str
    status: int = 400
    details: dict[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


def validation(message: str) -> ServiceError:
    """The control plane's refusal of a request."""
    return ServiceError("ValidationException", message)


def not_found(kind: str, arn: str) -> ServiceError:
    """The control plane's answer about what does not exist; it has no code of its own for most resources."""
    return validation(f'Could not find {kind} "{arn}".')
