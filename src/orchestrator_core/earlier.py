"""What the run database remembers of the gateway's answers to earlier orders."""

from orchestrator_core.identifiers import StrategyId
from orchestrator_core.orders import Order
from orchestrator_core.ports import Inquiry, RunRepository
from orchestrator_core.runs import RunFilter

# Runs that are looked through, the newest first; and those read with their orders.
RUNS_LISTED = 50
RUNS_READ = 4


async def latest_acknowledged(runs: RunRepository, strategy_id: StrategyId) -> Inquiry | None:
    """Return an order of the strategy's latest run that the gateway answered for. A read.

    Where one order of that run was answered for under an id of the gateway's own, it is that one.
    None where no recent run has any; runs of the replaced service tell nothing.

    Raises:
        Unavailable: The run database does not answer.
    """
    page = await runs.list_runs(RunFilter(strategy_id=strategy_id), limit=RUNS_LISTED, offset=0)
    placed = [each.run_id for each in page.runs if each.num_orders_submitted]
    for run_id in placed[:RUNS_READ]:
        run = await runs.get_run(run_id)
        if run is None or run.recorded is not None:
            continue
        found = [each for each in map(_inquiry_of, run.orders or ()) if each is not None]
        if found:
            return next((each for each in found if not _is_ours(each)), found[0])
    return None


def _inquiry_of(order: Order) -> Inquiry | None:
    if order.owner is not None or order.report is None or order.intent is None:
        return None
    return Inquiry.about(order.intent, order.report)


def _is_ours(inquiry: Inquiry) -> bool:
    return inquiry.gateway_order_id == inquiry.intent.client_order_id
