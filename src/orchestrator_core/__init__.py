"""Turn a strategy's signals into orders: once, within limits, and provably.

The pure half of the orchestrator. It needs attrs and the standard library, reaches no clock,
environment, network, file or random source, and never touches an event loop: what it needs from
outside stands in `orchestrator_core.ports`. `execute_run` in `orchestrator_core.workflow` reads as
the business process; `plan_orders` in `orchestrator_core.planning` is the decision.
"""

__version__ = "1.0.0"
