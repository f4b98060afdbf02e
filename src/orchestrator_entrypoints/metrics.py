"""What is counted and timed, on a registry of its own: two services in one process stay apart."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

CONTENT_TYPE = CONTENT_TYPE_LATEST

# Existing dashboards read those from 1 on; a run takes milliseconds.
RUN_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 10, 30, 60, 120, 300, 600)
CALL_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The metrics of one service.

    The names up to `execution_gateway_available` are read by existing alerts and dashboards.
    """

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.runs = Counter(
            "orchestrator_runs_total",
            "Runs asked for, by how they ended: error where the answer was no result, the run "
            "failed, or something is still open",
            ["status"],
            registry=registry,
        )
        self.run_seconds = Histogram(
            "orchestrator_orchestration_duration_seconds",
            "Time of a run",
            buckets=RUN_BUCKETS,
            registry=registry,
        )
        self.run_seconds_unprefixed = Histogram(
            "orchestration_duration_seconds",
            "Time of a run",
            buckets=RUN_BUCKETS,
            registry=registry,
        )
        self.signals_received = Counter(
            "orchestrator_signals_received_total",
            "Signals received from the Signal Service",
            registry=registry,
        )
        self.orders_submitted = Counter(
            "orchestrator_orders_submitted_total",
            "Tries to place an order at the Execution Gateway: accepted, or not",
            ["status"],
            registry=registry,
        )
        self.positions_adjusted = Counter(
            "orchestrator_positions_adjusted_total",
            "Orders accepted: by the answer to a try, or found so by recovery",
            registry=registry,
        )
        self.database_connected = Gauge(
            "orchestrator_database_connection_status",
            "1 when the run database answers",
            registry=registry,
        )
        self.signal_service_available = Gauge(
            "orchestrator_signal_service_available",
            "1 when the Signal Service is ready",
            registry=registry,
        )
        self.execution_gateway_available = Gauge(
            "orchestrator_execution_gateway_available",
            "1 when the Execution Gateway is healthy",
            registry=registry,
        )
        self._add_our_own(registry)

    def _add_our_own(self, registry: CollectorRegistry) -> None:
        self.runs_refused = Counter(
            "orchestrator_runs_refused_total",
            "Runs refused before anything was stored",
            ["reason"],
            registry=registry,
        )
        self.orders_unknown = Counter(
            "orchestrator_orders_unknown_total",
            "Tries whose outcome is not known",
            registry=registry,
        )
        self.orders_denied = Counter(
            "orchestrator_orders_denied_total",
            "Orders denied by our limits",
            ["code"],
            registry=registry,
        )
        self.orders_in_flight = Gauge(
            "orchestrator_orders_in_flight", "Orders this process is sending", registry=registry
        )
        self.orders_open = Gauge(
            "orchestrator_orders_open",
            "Orders of every replica that may be on the wire or wait for an operator",
            registry=registry,
        )
        self.trading_allowed = Gauge(
            "orchestrator_kill_switch_trading_allowed",
            "1 when the kill switch lets orders leave",
            registry=registry,
        )
        self.wave_seconds = Histogram(
            "orchestrator_wave_duration_seconds",
            "Time to send one wave of orders",
            buckets=CALL_BUCKETS,
            registry=registry,
        )
        self.call_seconds = Histogram(
            "orchestrator_port_duration_seconds",
            "Time of one call to something outside",
            ["port", "operation"],
            buckets=CALL_BUCKETS,
            registry=registry,
        )
        self.call_errors = Counter(
            "orchestrator_port_errors_total",
            "Calls to something outside that failed",
            ["port", "operation", "error"],
            registry=registry,
        )
        self._add_controls(registry)
        self._add_recovery(registry)
        ProcessCollector(registry=registry)

    def _add_controls(self, registry: CollectorRegistry) -> None:
        self.reduce_only = Gauge(
            "orchestrator_reduce_only",
            "1 when only orders are sent that shrink a position",
            registry=registry,
        )
        self.failed_runs = Gauge(
            "orchestrator_failed_runs_in_a_row",
            "Failed runs since one did not fail, or an operator re-armed the strategy; counted up "
            "to MAX_FAILED_RUNS",
            registry=registry,
        )
        self.throttled = Gauge(
            "orchestrator_throttled",
            "1 when the strategy does not trade until an operator re-arms it",
            registry=registry,
        )

    def _add_recovery(self, registry: CollectorRegistry) -> None:
        self.orders_unresolved = Gauge(
            "orchestrator_orders_unresolved",
            "Orders of every replica whose fate only an operator can settle",
            registry=registry,
        )
        self.orders_in_conflict = Gauge(
            "orchestrator_orders_in_conflict",
            "Orders of every replica that the gateway has with another payload",
            registry=registry,
        )
        self.runs_due = Gauge(
            "orchestrator_recovery_runs_due",
            "Runs that recovery may take now",
            registry=registry,
        )
        self.oldest_due_seconds = Gauge(
            "orchestrator_recovery_oldest_due_seconds",
            "How long the first of them has waited",
            registry=registry,
        )
        self.orders_followed = Gauge(
            "orchestrator_orders_followed",
            "Accepted orders that have not ended at the gateway",
            registry=registry,
        )
        self.orders_recovered = Counter(
            "orchestrator_orders_recovered_total",
            "Orders of unknown fate that a look at the gateway settled",
            ["outcome"],
            registry=registry,
        )
        self.orders_left_to_operator = Counter(
            "orchestrator_orders_left_to_operator_total",
            "Orders that wait for an operator from then on",
            ["state"],
            registry=registry,
        )
        self.orders_resent = Counter(
            "orchestrator_orders_resent_total",
            "Orders of unknown fate that were sent once more",
            registry=registry,
        )
        self.order_news = Counter(
            "orchestrator_order_news_total",
            "Looks at accepted orders: ended, revived after their end, unanswered",
            ["kind"],
            registry=registry,
        )
        self.shares_filled = Counter(
            "orchestrator_shares_filled_total",
            "Shares filled, as heard of by following",
            registry=registry,
        )
        self.cancels = Counter(
            "orchestrator_order_cancels_total",
            "Requests to cancel an order: taken by the gateway, or not",
            ["status"],
            registry=registry,
        )
        self.budget_waits = Counter(
            "orchestrator_order_budget_waits_total",
            "Times that the budget of all replicas let orders wait",
            registry=registry,
        )

    def observe_run(self, *, succeeded: bool, seconds: float) -> None:
        """Count a run that ended, and its time under both names."""
        self.runs.labels(status="success" if succeeded else "error").inc()
        self.run_seconds.observe(seconds)
        self.run_seconds_unprefixed.observe(seconds)

    def exposition(self) -> bytes:
        """Return everything in the Prometheus text format."""
        return generate_latest(self.registry)
