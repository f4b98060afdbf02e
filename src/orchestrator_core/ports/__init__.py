"""What the core needs from outside: capabilities, as protocols.

Every method says which errors it raises and whether the action may have happened. `Unavailable`
always means certainly not done. Time-outs, retries and concurrency are the adapters' business; no
method waits without a bound.
"""

from orchestrator_core.ports.all_ports import RunPorts
from orchestrator_core.ports.market import (
    CloseSource,
    PositionSource,
    PriceSource,
    SignalSource,
)
from orchestrator_core.ports.orders import (
    Allowance,
    CancelOutcome,
    Inquiry,
    LookUp,
    LookUpKind,
    OrderBudget,
    OrderSink,
    SubmitKind,
    SubmitOutcome,
)
from orchestrator_core.ports.runs import RunRepository
from orchestrator_core.ports.switch import (
    Breaker,
    BreakerState,
    CircuitBreaker,
    KillSwitch,
    SwitchChange,
)
from orchestrator_core.ports.time import Clock, Together, one_after_the_other

__all__ = [
    "Allowance",
    "Breaker",
    "BreakerState",
    "CancelOutcome",
    "CircuitBreaker",
    "Clock",
    "CloseSource",
    "Inquiry",
    "KillSwitch",
    "LookUp",
    "LookUpKind",
    "OrderBudget",
    "OrderSink",
    "PositionSource",
    "PriceSource",
    "RunPorts",
    "RunRepository",
    "SignalSource",
    "SubmitKind",
    "SubmitOutcome",
    "SwitchChange",
    "Together",
    "one_after_the_other",
]
