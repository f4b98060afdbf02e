"""What any peer's answer to a read means by its status."""

from orchestrator_adapters.http.client import PeerClient, Reply
from orchestrator_adapters.http.failures import CallFailed
from orchestrator_adapters.http.json_fields import detail_of
from orchestrator_core.errors import MalformedReply, PortError, Unavailable

OK = 200
# The caller is to leave the peer alone for a while.
PACED = 429
# 403: the caller is not let in for now.
PASSING = frozenset({403, PACED})
FIRST_SERVER_ERROR, LAST_SERVER_ERROR = 500, 599


def cause_of(reply: Reply) -> str:
    """Return the status and the peer's own words, as one line."""
    return f"HTTP {reply.status} {detail_of(reply.body)}".rstrip()


def read_error(reply: Reply, port: str, operation: str) -> PortError:
    """Return what an answer other than the one hoped for means."""
    status = reply.status
    if status in PASSING or FIRST_SERVER_ERROR <= status <= LAST_SERVER_ERROR:
        return Unavailable(port, operation, cause_of(reply), retry_after=reply.retry_after)
    return MalformedReply(port, operation, cause_of(reply))


async def read_path(
    client: PeerClient, path: str, *, seconds: float, port: str, operation: str
) -> Reply:
    """Return the answer to a GET, whatever its status.

    Raises:
        Unavailable: No answer came.
        MalformedReply: What came is no answer.
    """
    try:
        return await client.read("GET", client.url(path), seconds=seconds)
    except CallFailed as failure:
        raise failure.as_read_error(port, operation) from failure
