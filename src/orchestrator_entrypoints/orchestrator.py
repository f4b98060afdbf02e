"""What the HTTP service and the command line are given: the ports, wired, and how to run them."""

from collections.abc import Awaitable, Callable
from time import monotonic

from attrs import define, field, frozen

from orchestrator_core.policy import RunPolicy
from orchestrator_core.ports import RunPorts
from orchestrator_core.requests import RequestPolicy
from orchestrator_entrypoints.metrics import Metrics
from orchestrator_entrypoints.settings import Settings

Ask = Callable[[], Awaitable[None]]


@define
class StopFlag:
    """Whether this process was told to end: no run begins, and no further wave is claimed."""

    _since: float | None = field(default=None, init=False)

    @property
    def is_set(self) -> bool:
        """Whether it was told."""
        return self._since is not None

    @property
    def seconds(self) -> float:
        """Seconds since it was told; 0 before."""
        return 0.0 if self._since is None else monotonic() - self._since

    def set(self) -> None:
        """Tell it to end, for good; only the first call counts."""
        if self._since is None:
            self._since = monotonic()


@frozen(kw_only=True)
class Orchestrator:
    """One wired service. Nothing here has connected to anything before it is first used.

    Attributes:
        ports: What a run reaches outside through.
        policy: How every run is run.
        request_policy: Defaults and bounds for what a request gives.
        metrics: What the ports count into.
        stop: Set when the process is to end.
        ask_signal_service: Returns if the Signal Service is ready; else raises PortError.
        ask_gateway: Returns if the Execution Gateway is healthy; else raises PortError.
        prepare: Opens both stores and brings their schema up to date. Raises PortError.
        aclose: Gives back every connection, file and thread.
    """

    settings: Settings
    ports: RunPorts
    policy: RunPolicy
    request_policy: RequestPolicy
    metrics: Metrics
    stop: StopFlag
    ask_signal_service: Ask
    ask_gateway: Ask
    prepare: Ask
    aclose: Ask
