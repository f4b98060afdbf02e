"""What `backtest` and `sweep` take on the command line; imports nothing that they need."""

import argparse


def add_backtest_arguments(command: argparse.ArgumentParser) -> None:
    """Add what `orchestrator backtest` takes."""
    _add_inputs(command)
    command.add_argument(
        "--engine",
        choices=["auto", "faithful", "columnar"],
        default="auto",
        help="what decides: the workflow (auto, since runs are kept), or arrays equal to it, which"
        " keep no orders",
    )
    recorded = command.add_argument_group(
        "recorded runs", "decide what production decided on again, under --policy"
    )
    recorded.add_argument("--from-runs", metavar="FILE", help="what runs export wrote")
    recorded.add_argument(
        "--since", metavar="YYYY-MM-DD", help="stored runs that started on this day (UTC) or later"
    )
    recorded.add_argument("--strategy", metavar="ID", help="only this strategy's")
    recorded.add_argument(
        "--data", metavar="FILE", help="stored in this SQLite file in place of Postgres"
    )
    _add_outputs(command, "orchestrator-backtest")


def add_sweep_arguments(command: argparse.ArgumentParser) -> None:
    """Add what `orchestrator sweep` takes."""
    command.add_argument(
        "--grid",
        nargs="+",
        action="extend",
        default=[],
        metavar="FIELD=VALUES",
        help="a policy field and its values: 5000,10000 or 5000..50000:5000",
    )
    command.add_argument(
        "--sample", type=int, metavar="N", help="only so many cells of the grid, drawn at random"
    )
    command.add_argument("--seed", type=int, metavar="S", help="of what is drawn (0)")
    _add_inputs(command)
    where = command.add_mutually_exclusive_group()
    where.add_argument(
        "--processes", type=int, metavar="N", help="on this machine (as many as processors)"
    )
    where.add_argument(
        "--scheduler", metavar="ADDRESS", help="of a Dask cluster, as tcp://host:8786"
    )
    _add_outputs(command, "orchestrator-sweep")


def _add_inputs(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--signals",
        metavar="FILE",
        help="CSV or Parquet: date, symbol, weight; or date and a column a symbol"
        " (momentum on bundled closes)",
    )
    command.add_argument(
        "--prices", metavar="FILE", help="the same of close, and of open where there is one"
    )
    command.add_argument(
        "--policy",
        nargs="+",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="capital (100000), cap (20000, or none), lot (1), lot.AAPL, buffer, every (1),"
        " max_order_qty, and their like; given again it is, of recorded runs, a further policy",
    )
    command.add_argument(
        "--fills",
        choices=["next_open", "next_close"],
        help="when orders fill, after the close that decides (next_open where there are opens)",
    )
    for name, what in (("slippage", "what a fill loses"), ("commission", "what a fill costs")):
        command.add_argument(
            f"--{name}-bps", metavar="BPS", default="0", help=f"{what}, basis points (0)"
        )


def _add_outputs(command: argparse.ArgumentParser, name: str) -> None:
    command.add_argument(
        "--out", metavar="DIR", default=".", help="where to write (the working directory)"
    )
    command.add_argument("--name", default=name, help=f"what the files' names begin with ({name})")
    command.add_argument(
        "--format", choices=["csv", "parquet"], default="csv", help="of tables (csv)"
    )
    command.add_argument("--no-report", action="store_true", help="write no HTML")
