"""What people and services around the simulated desk do, as coroutines over a replica's ports."""

from collections.abc import Callable

from orchestrator_core.engaging import EngageAnswer, disengage, engage
from orchestrator_core.errors import PortError
from orchestrator_core.halting import follow, read_switch
from orchestrator_core.kill_switch import Disengagement, Engagement, Halted
from orchestrator_core.policy import RunPolicy
from orchestrator_core.ports import RunPorts
from orchestrator_core.recovery import recover_run
from orchestrator_core.tracking import follow_orders

ROUND_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 16.0


async def tend(ports: RunPorts, policy: RunPolicy, *, rests_seconds: float) -> None:
    """Do what a replica does between runs, for ever: recover, follow orders, follow the switch.

    Args:
        ports: The replica's.
        policy: How it runs.
        rests_seconds: Until its first round.
    """
    pause = ROUND_SECONDS
    await ports.clock.sleep(rests_seconds)
    while True:
        try:
            has_worked = await _tend_once(ports, policy)
        except PortError:
            has_worked = False
        pause = ROUND_SECONDS if has_worked else min(2 * pause, LONGEST_PAUSE_SECONDS)
        await ports.clock.sleep(pause)


async def _tend_once(ports: RunPorts, policy: RunPolicy) -> bool:
    has_worked = False
    while await recover_run(ports=ports, policy=policy) is not None:
        has_worked = True
    looks = await follow_orders(sink=ports.sink, runs=ports.runs, strategy_id=policy.strategy_id)
    reading = await read_switch(ports.kill_switch, ports.runs)
    if isinstance(reading.verdict, Halted) and reading.verdict.follow_up is not None:
        await follow(reading, ports.kill_switch, ports.runs, ports.clock)
        has_worked = True
    return has_worked or looks.looked > 0


async def stop_trading(
    operator: str,
    ports: RunPorts,
    tell: Callable[[EngageAnswer], None],
    *,
    wait_seconds: float,
    cancels: bool = False,
) -> EngageAnswer:
    """Engage, wait that long for what is on the wire, and tell what the answer was."""
    answer = await engage(
        Engagement(operator, "odd fills", ports.clock.now()),
        kill_switch=ports.kill_switch,
        runs=ports.runs,
        clock=ports.clock,
        wait_seconds=wait_seconds,
        cancel_at=ports.sink if cancels else None,
    )
    tell(answer)
    return answer


async def let_trade(operator: str, ports: RunPorts) -> None:
    """Disengage."""
    await disengage(
        Disengagement(operator, ports.clock.now()),
        kill_switch=ports.kill_switch,
        runs=ports.runs,
    )
