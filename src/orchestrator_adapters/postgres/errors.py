"""What psycopg's errors mean for the caller: the one map from its tree to the core's."""

from typing import Final

import psycopg
import psycopg_pool

from orchestrator_core.errors import (
    IllegalTransition,
    OrchestratorError,
    OutcomeUnknown,
    Unavailable,
)

PORT: Final = "runs"

# Raised by the stored functions: an order's state does not allow the step.
ILLEGAL_TRANSITION_STATE: Final = "OR001"

_POOL_ERRORS = (
    psycopg_pool.PoolTimeout,
    psycopg_pool.PoolClosed,
    psycopg_pool.TooManyRequests,
)
# The server itself says that it does not know whether the commit stood.
_COMMIT_IN_DOUBT = ("08007", "40003")
# The transaction was undone for another's sake; it may be done again as it is.
_UNDONE_FOR_ANOTHER = ("40001", "40P01")
_VALUE_CLASSES = ("22", "23")
_MAX_CAUSE_LENGTH = 300


def is_worth_repeating(error: psycopg.Error) -> bool:
    """Whether the transaction lost against another, and was undone, through no fault of its own."""
    return error.sqlstate in _UNDONE_FOR_ANOTHER


def is_lost_connection(error: psycopg.Error) -> bool:
    """Whether the error ended the session, rather than one statement of it.

    A FATAL or PANIC of the server does, and so does an operational error that it did not report.
    """
    if isinstance(error, _POOL_ERRORS):
        return False
    if error.sqlstate is None:
        return isinstance(error, psycopg.OperationalError | psycopg.InternalError)
    severity = error.diag.severity_nonlocalized
    return severity in {"FATAL", "PANIC"} or error.sqlstate.startswith(("08", "57P"))


def map_error(error: psycopg.Error, *, operation: str, may_be_done: bool) -> OrchestratorError:
    """Return what an error of psycopg or its pool means.

    - An error that the server reported for a statement undid its transaction: nothing was done.
    - A lost session leaves a commit in doubt, if one may have been sent.
    - A value or a row that the schema refuses (classes 22 and 23) is a fault of ours.

    Args:
        error: As raised.
        operation: Method of the port.
        may_be_done: A commit may have been on its way when it was raised.
    """
    cause = describe(error)
    if may_be_done and (is_lost_connection(error) or error.sqlstate in _COMMIT_IN_DOUBT):
        return OutcomeUnknown(PORT, operation, cause)
    if error.sqlstate == ILLEGAL_TRANSITION_STATE:
        return IllegalTransition(cause)
    if _is_fault_of_ours(error):
        return IllegalTransition(f"the run database refused a value: {cause}")
    return Unavailable(PORT, operation, cause)


def _is_fault_of_ours(error: psycopg.Error) -> bool:
    if error.sqlstate is not None and not isinstance(error, _POOL_ERRORS):
        return error.sqlstate.startswith(_VALUE_CLASSES)
    return isinstance(error, psycopg.DataError | psycopg.IntegrityError)


def describe(error: BaseException) -> str:
    """Return an error in one line, without the values that a server repeats in its details."""
    if isinstance(error, psycopg.Error) and error.diag.message_primary is not None:
        text = error.diag.message_primary
    else:
        text = str(error)
    line = " ".join(text.split()) or type(error).__name__
    return line[:_MAX_CAUSE_LENGTH]
