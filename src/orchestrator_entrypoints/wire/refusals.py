"""What was wrong with a request, and why something was not done."""

from uuid import UUID

from attrs import field, frozen

from orchestrator_entrypoints.wire.fields import said
from orchestrator_entrypoints.wire.switch import EngageResult


@frozen(kw_only=True)
class FieldProblem:
    """What is wrong with one field."""

    loc: tuple[str | int, ...]
    msg: str
    type: str


@frozen(kw_only=True)
class ShapeError:
    """The request is not of the agreed form."""

    detail: tuple[FieldProblem, ...]


@frozen(kw_only=True)
class PlainError:
    """One sentence that says what was wrong."""

    detail: str


@frozen(kw_only=True)
class Refusal:
    """Why nothing, or not all, was done; what does not apply is left out."""

    error: str = field(metadata=said("The same words for the same case"))
    message: str
    fail_closed: bool | None = None
    run_id: UUID | None = None
    reason: str | None = None
    reasons: tuple[str, ...] | None = None
    engaged_by: str | None = None
    engaged_at: str | None = None
    retry_after: float | None = field(default=None, metadata=said("Seconds"))
    kill_switch: EngageResult | None = None


@frozen(kw_only=True)
class RefusalError:
    """A refusal, or a failure of something that a run needs."""

    detail: Refusal
