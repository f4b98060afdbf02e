"""How this service runs: the same for every run."""

from attrs import field, frozen

from orchestrator_core.controls import StrategyControls
from orchestrator_core.identifiers import StrategyId, TradingMode
from orchestrator_core.limits import Limits
from orchestrator_core.model import SafetyFlags
from orchestrator_core.requests import RunRequest
from orchestrator_core.sizing import SizingRules


@frozen
class RunPolicy:
    """How this service runs, the same for every run.

    Attributes:
        environment: Deployment name, part of the order identity.
        strategy_id: Whose signals are traded.
        limits: Bounds in force.
        sizing: How shares are rounded.
        claimed_flags: The brakes that this service says are on.
        allow_unverified_gateway: Trade although the gateway's flags cannot be read.
        max_in_flight_orders: Orders a wave.
        send_window_seconds: From the claim to the latest begin of a sending.
        lease_seconds: Outlasts the longest wave; see `RunOpening`.
        persist_seconds: How long outcomes of sent orders are tried to be recorded.
        owner_wait_seconds: How long a run waits for the orders that it adopted.
        unresolved_after_seconds: Age of a claim whose order is still UNKNOWN at which it is left
            to an operator; outlasts by far the time that a try may be in flight.
        max_failed_runs: Failed runs in a row after which an operator must re-arm the strategy; None
            leaves it open.
        leg_wait_seconds: How long a second leg waits for the fill of the first.
        code_version: Version that decides.
    """

    environment: str
    strategy_id: StrategyId
    limits: Limits
    claimed_flags: SafetyFlags
    code_version: str
    sizing: SizingRules = field(factory=SizingRules)
    allow_unverified_gateway: bool = False
    max_in_flight_orders: int = 32
    send_window_seconds: float = 5.0
    lease_seconds: float = 90.0
    persist_seconds: float = 20.0
    owner_wait_seconds: float = 10.0
    unresolved_after_seconds: float = 300.0
    max_failed_runs: int | None = None
    leg_wait_seconds: float = 10.0

    @property
    def mode(self) -> TradingMode:
        """What the gateway does with our orders, by the flags that we claim."""
        if self.claimed_flags.dry_run:
            return TradingMode.DRY
        return TradingMode.PAPER if self.claimed_flags.alpaca_paper else TradingMode.LIVE

    def limits_of(self, request: RunRequest) -> Limits:
        """Return the limits that a request is held to: its own, where it tightened any."""
        return request.limits or self.limits

    @property
    def failures_counted(self) -> int:
        """How many failed runs in a row are looked for; 0 where none stop the strategy."""
        return 0 if self.max_failed_runs is None else self.max_failed_runs

    def is_throttled_by(self, controls: StrategyControls) -> bool:
        """Whether no run trades until an operator re-arms the strategy."""
        most = self.max_failed_runs
        return most is not None and controls.failed_runs >= most

    def distrust_flags(self, flags: SafetyFlags) -> str | None:
        """Say why a gateway with these flags must not be given an order, or return None."""
        claimed = self.claimed_flags
        if flags.is_as_safe_as(claimed):
            return None
        return (
            "the gateway is less safe than this service claims: it says "
            f"dry_run={flags.dry_run} alpaca_paper={flags.alpaca_paper}, we say "
            f"dry_run={claimed.dry_run} alpaca_paper={claimed.alpaca_paper}"
        )

    def distrust_silence(self, cause: str) -> str | None:
        """Say why a gateway whose flags cannot be read must not be given an order, or None."""
        if self.allow_unverified_gateway or self.mode is TradingMode.LIVE:
            return None
        return f"the gateway's safety flags cannot be verified: {cause}"
