"""All that a run reaches outside through."""

from collections.abc import Callable

from attrs import frozen

from orchestrator_core.ports.market import CloseSource, PositionSource, PriceSource, SignalSource
from orchestrator_core.ports.orders import OrderBudget, OrderSink
from orchestrator_core.ports.runs import RunRepository
from orchestrator_core.ports.switch import CircuitBreaker, KillSwitch
from orchestrator_core.ports.time import Clock, Together, one_after_the_other


@frozen
class RunPorts:
    """All that `execute_run` reaches outside through.

    Attributes:
        breaker: None where none is enabled.
        budget: None where replicas need not share one.
        positions: None where no run depends on what is held.
        closes: None where no price is held against a close.
        together: How reads that do not wait for each other are awaited.
        stopping: Whether the process was told to end: no further wave is claimed.
    """

    signals: SignalSource
    prices: PriceSource
    sink: OrderSink
    runs: RunRepository
    kill_switch: KillSwitch
    clock: Clock
    breaker: CircuitBreaker | None = None
    budget: OrderBudget | None = None
    positions: PositionSource | None = None
    closes: CloseSource | None = None
    together: Together = one_after_the_other
    stopping: Callable[[], bool] = lambda: False
