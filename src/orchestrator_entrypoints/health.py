"""How the service and what it needs are: asked all at once, each within a deadline.

An answer stands for a fraction of a second, and whoever asks while one is being found waits for
that one: a storm of health checks costs as much as one.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from attrs import define, evolve, field, frozen

from orchestrator_core.commits import Backlog, OpenOrder
from orchestrator_core.controls import StrategyControls
from orchestrator_core.errors import PortError
from orchestrator_core.halting import SwitchReading, read_latch, read_shared
from orchestrator_core.kill_switch import Halted, Trading, Unreadable
from orchestrator_core.lifecycle import OrderState
from orchestrator_core.model import SafetyFlags
from orchestrator_core.policy import RunPolicy
from orchestrator_core.ports import Breaker, BreakerState
from orchestrator_entrypoints.control_answers import read_controls, reduce_only_sources
from orchestrator_entrypoints.logs import log_event
from orchestrator_entrypoints.orchestrator import Orchestrator
from orchestrator_entrypoints.wire import HealthWord

PROBE_SECONDS = 2.0
FRESH_SECONDS = 0.25
NO_ANSWER = f"no answer within {PROBE_SECONDS:g} s"

Found = TypeVar("Found")

_LOG = logging.getLogger("orchestrator.health")


@frozen
class Problem:
    """Why something could not be asked, in one line without secrets."""

    cause: str


@frozen(kw_only=True)
class Observation:
    """What everything answered; a `Problem` where it did not.

    Attributes:
        switch: Both stores of the kill switch.
        flags: What the gateway says of its brakes.
        open_orders: Orders of every replica that are not settled.
        backlog: What waits for recovery.
        breaker: The circuit breaker; None where none is enabled, or none was ever set.
        controls: What an operator set for the strategy, and how its last runs ended.
    """

    database: Problem | None
    signal_service: Problem | None
    gateway: Problem | None
    switch: SwitchReading
    flags: SafetyFlags | Problem
    open_orders: Sequence[OpenOrder] | Problem
    backlog: Backlog | Problem
    breaker: Breaker | Problem | None
    controls: StrategyControls | Problem

    @property
    def problems(self) -> dict[str, str]:
        """Causes, by the name of what does not answer."""
        answers = {
            "database": self.database,
            "signal_service": self.signal_service,
            "execution_gateway": self.gateway,
        }
        return {name: problem.cause for name, problem in answers.items() if problem is not None}

    @property
    def word(self) -> HealthWord:
        """The whole in one word."""
        if self.database is not None:
            return HealthWord.UNHEALTHY
        in_doubt = isinstance(self.switch.verdict, Halted) and not self.switch.verdict.engaged
        if in_doubt or self.signal_service is not None or self.gateway is not None:
            return HealthWord.DEGRADED
        return HealthWord.HEALTHY


@frozen
class OpenCounts:
    """Open orders, by what has to happen to them.

    Attributes:
        sending: Their sender settles them.
        unknown: Recovery does.
        unresolved: Only an operator can.
        in_conflict: Only an operator can: the gateway has them with another payload.
    """

    sending: int
    unknown: int
    unresolved: int
    in_conflict: int


def count_open(orders: Sequence[OpenOrder]) -> OpenCounts:
    """Return how many orders are open, and for whom."""
    states = Counter(order.state for order in orders)
    return OpenCounts(
        sending=states[OrderState.SENDING],
        unknown=states[OrderState.UNKNOWN],
        unresolved=states[OrderState.UNRESOLVED],
        in_conflict=states[OrderState.CONFLICT],
    )


@define
class HealthObserver:
    """Asks everything that a run needs."""

    orchestrator: Orchestrator
    _current: asyncio.Task[Observation] | None = field(default=None, init=False)
    _taken_at: float = field(default=float("-inf"), init=False)

    async def observe(self) -> Observation:
        """Return what everything answers now, or answered a moment ago; never raises."""
        task = self._current
        if task is None or (task.done() and self._age() > FRESH_SECONDS):
            task = self._current = asyncio.create_task(self._ask_all())
        return await asyncio.shield(task)

    def _age(self) -> float:
        return self.orchestrator.ports.clock.monotonic() - self._taken_at

    async def _ask_all(self) -> Observation:
        ports = self.orchestrator.ports
        reachable = asyncio.gather(
            _answer(ports.runs.check),
            _answer(self.orchestrator.ask_signal_service),
            _answer(self.orchestrator.ask_gateway),
        )
        waiting = asyncio.gather(_answer(ports.runs.open_orders), _answer(ports.runs.backlog))
        reached, switch, flags, (orders, backlog), breaker, controls = await asyncio.gather(
            reachable,
            self._read_switch(),
            _answer(ports.sink.safety_flags),
            waiting,
            _answer(self._read_breaker),
            _answer(lambda: read_controls(ports.runs, self.orchestrator.policy)),
        )
        database, signals, gateway = reached
        observation = Observation(
            database=database,
            signal_service=signals,
            gateway=gateway,
            switch=switch,
            flags=flags,
            open_orders=orders,
            backlog=backlog,
            breaker=breaker,
            controls=controls,
        )
        self._taken_at = ports.clock.monotonic()
        self._show(observation)
        return observation

    async def _read_switch(self) -> SwitchReading:
        """Read one store after the other, as a run does; a store that is late is unreadable."""
        ports = self.orchestrator.ports
        reading = SwitchReading(Unreadable(NO_ANSWER), Unreadable(NO_ANSWER))

        async def read_both() -> None:
            nonlocal reading
            reading = evolve(reading, shared=await read_shared(ports.kill_switch))
            reading = evolve(reading, latch=await read_latch(ports.runs))

        await _answer(read_both)
        return reading

    async def _read_breaker(self) -> Breaker | None:
        breaker = self.orchestrator.ports.breaker
        return None if breaker is None else await breaker.read()

    def _show(self, observation: Observation) -> None:
        metrics = self.orchestrator.metrics
        metrics.database_connected.set(observation.database is None)
        metrics.signal_service_available.set(observation.signal_service is None)
        metrics.execution_gateway_available.set(observation.gateway is None)
        metrics.trading_allowed.set(isinstance(observation.switch.verdict, Trading))
        if not isinstance(observation.open_orders, Problem):
            metrics.orders_open.set(len(observation.open_orders))
            waiting = count_open(observation.open_orders)
            metrics.orders_unresolved.set(waiting.unresolved)
            metrics.orders_in_conflict.set(waiting.in_conflict)
        if not isinstance(observation.backlog, Problem):
            metrics.runs_due.set(observation.backlog.runs_due)
            metrics.oldest_due_seconds.set(observation.backlog.oldest_due_seconds)
            metrics.orders_followed.set(observation.backlog.orders_followed)
        if not isinstance(observation.controls, Problem):
            policy = self.orchestrator.policy
            metrics.reduce_only.set(bool(reduce_only_sources(observation.controls, policy)))
            metrics.failed_runs.set(observation.controls.failed_runs)
            metrics.throttled.set(policy.is_throttled_by(observation.controls))


async def _answer(ask: Callable[[], Awaitable[Found]]) -> Found | Problem:
    """Return the answer, or the problem; at the deadline even if the question cannot be stopped."""
    task = asyncio.ensure_future(_caught(ask))
    await asyncio.wait({task}, timeout=PROBE_SECONDS)
    if task.done():
        return task.result()
    task.cancel()
    return Problem(NO_ANSWER)


async def _caught(ask: Callable[[], Awaitable[Found]]) -> Found | Problem:
    try:
        return await ask()
    except PortError as error:
        return Problem(error.cause)
    except Exception as error:  # noqa: BLE001 - the edge of a probe: health answers whatever breaks
        log_event(_LOG, logging.ERROR, "probe broken", error=repr(error))
        return Problem(f"unforeseen {type(error).__name__}")


def why_not_ready(observation: Observation, orchestrator: Orchestrator) -> tuple[str, ...]:
    """Return the reasons why a run would be refused now."""
    reasons = []
    if orchestrator.stop.is_set:
        reasons.append("the service is stopping")
    for name, problem in (
        ("run database", observation.database),
        ("Signal Service", observation.signal_service),
        ("Execution Gateway", observation.gateway),
    ):
        if problem is not None:
            reasons.append(f"{name}: {problem.cause}")
    verdict = observation.switch.verdict
    if isinstance(verdict, Halted):
        word = "engaged" if verdict.engaged else "unavailable"
        reasons.append(f"kill switch {word}: {verdict.reason}")
    if isinstance(observation.breaker, Problem):
        reasons.append(f"circuit breaker: {observation.breaker.cause}")
    elif observation.breaker is not None and observation.breaker.state is BreakerState.TRIPPED:
        reasons.append(
            f"circuit breaker tripped: {observation.breaker.reason or 'no reason given'}"
        )
    distrust = gateway_distrust(observation.flags, orchestrator.policy)
    if distrust is not None:
        reasons.append(distrust)
    reasons += _why_controls_refuse(observation, orchestrator.policy)
    return tuple(reasons)


def _why_controls_refuse(observation: Observation, policy: RunPolicy) -> list[str]:
    controls = observation.controls
    if isinstance(controls, Problem):
        # A run database that does not answer is named already.
        return [f"controls: {controls.cause}"] if observation.database is None else []
    if not policy.is_throttled_by(controls):
        return []
    failed = f"{controls.failed_runs} runs in a row failed"
    return [f"throttled: {failed}; to go on: orchestrator controls rearm"]


def gateway_distrust(flags: SafetyFlags | Problem, policy: RunPolicy) -> str | None:
    """Say why the gateway would be given no order, by its safety flags, or return None."""
    if isinstance(flags, Problem):
        return policy.distrust_silence(flags.cause)
    return policy.distrust_flags(flags)
