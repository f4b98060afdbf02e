"""Whose signals a run asks for: one strategy's, or several strategies' netted into one."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from attrs import frozen

from orchestrator_adapters.event_loop import at_once
from orchestrator_adapters.netted import NettedSignalSource, StrategySource
from orchestrator_core.errors import Unavailable
from orchestrator_core.ports import SignalSource
from orchestrator_entrypoints.orchestrator import Ask
from orchestrator_entrypoints.policies import run_policy
from orchestrator_entrypoints.settings import Settings


class Service(SignalSource, Protocol):
    """A Signal Service, asked in the name of one strategy."""

    async def ready(self) -> bool:
        """Return whether the service says that it is fit for traffic. Never raises."""
        ...


@frozen
class WiredSignals:
    """Signals, and a probe of every Signal Service behind them."""

    source: SignalSource
    ask: Ask


def wire_signals(settings: Settings, service_of: Callable[[str, str], Service]) -> WiredSignals:
    """Return the signals that these settings describe; nothing is reached yet.

    Args:
        settings: Name the strategies.
        service_of: Makes the service of an address and a strategy's name.
    """
    strategies = settings.strategies
    if strategies is None:
        service = service_of(settings.signal_service_url, settings.strategy_id)
        return WiredSignals(service, _asking([("", service)]))
    services = [(each, service_of(each.url, each.name)) for each in strategies.each]
    return WiredSignals(
        NettedSignalSource(
            [StrategySource(each.name, each.share, service) for each, service in services],
            run_policy(settings).limits,
            at_once,
        ),
        _asking([(f"{each.name} at {each.url} ", service) for each, service in services]),
    )


def _asking(services: Sequence[tuple[str, Service]]) -> Ask:
    async def ask() -> None:
        answers = await asyncio.gather(*(service.ready() for _, service in services))
        down = [name for (name, _), is_ready in zip(services, answers, strict=True) if not is_ready]
        if down:
            said = (f"{name}does not answer, or says that it is not ready" for name in down)
            raise Unavailable("signals", "ready", "; ".join(said))

    return ask
