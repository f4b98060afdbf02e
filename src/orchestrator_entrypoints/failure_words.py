"""What each failure of a run is called to a client, and the status it is answered with."""

from collections.abc import Mapping

from orchestrator_core.runs import FailureKind

FAILURES: Mapping[FailureKind, tuple[int, str]] = {
    FailureKind.SIGNALS_UNAVAILABLE: (503, "Signal Service unavailable"),
    FailureKind.SIGNALS_REFUSED: (400, "Signal Service refused the request"),
    FailureKind.SIGNALS_MALFORMED: (502, "Signal Service answered outside its contract"),
    FailureKind.PRICES_UNAVAILABLE: (503, "Prices unavailable"),
    FailureKind.POSITIONS_UNAVAILABLE: (503, "Positions unavailable"),
    FailureKind.THROTTLED: (503, "Strategy throttled"),
    FailureKind.BOOK_MOVED: (503, "Strategy busy"),
    FailureKind.BASKET_REFUSED: (400, "Basket refused"),
    FailureKind.GATEWAY_UNAVAILABLE: (503, "Execution Gateway unavailable"),
    FailureKind.GATEWAY_UNSAFE: (503, "Execution Gateway not verified as safe"),
    FailureKind.HALTED: (503, "Trading halted"),
    FailureKind.BUDGET_UNAVAILABLE: (503, "Order budget unavailable"),
    FailureKind.DATABASE_UNAVAILABLE: (503, "Run database unavailable"),
    FailureKind.STOPPED: (503, "Service stopping"),
    FailureKind.ABANDONED: (503, "Run abandoned"),
    FailureKind.UNFORESEEN: (500, "Internal error"),
}

# Kinds where a brake, or doubt about one, stops trading.
FAILS_CLOSED = frozenset(
    {
        FailureKind.GATEWAY_UNSAFE,
        FailureKind.HALTED,
        FailureKind.BUDGET_UNAVAILABLE,
        FailureKind.THROTTLED,
    }
)
