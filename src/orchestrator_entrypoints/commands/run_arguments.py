"""What the commands of runs take on the command line: making one, looking, deciding again."""

import argparse

from orchestrator_entrypoints.commands.declaring import (
    Commands,
    add_command,
    add_explain,
    add_group,
    add_json,
    count_between,
)


def add_run(commands: Commands) -> None:
    """Add `run`."""
    run = add_command(
        commands, "run", "make one run against the configured parts and show it", "run.run"
    )
    run.add_argument(
        "--symbols",
        nargs="+",
        action="extend",
        required=True,
        metavar="SYMBOL",
        help="spaces or commas between; may be given again",
    )
    run.add_argument("--as-of", metavar="YYYY-MM-DD", help="date of the signals (the latest)")
    run.add_argument("--capital", metavar="AMOUNT", help="what a weight of 1 stands for (CAPITAL)")
    run.add_argument(
        "--max-position-size", metavar="AMOUNT", help="cap on one position (MAX_POSITION_SIZE)"
    )
    run.add_argument("--dry-run", action="store_true", help="plan and store, send nothing")
    run.add_argument(
        "--rebalance-key", metavar="KEY", help="names a further rebalance of the same date"
    )
    run.add_argument(
        "--limit",
        dest="limits",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="hold this run to a tighter limit: max_order_qty, max_day_gross, and their like",
    )
    add_explain(run)
    add_json(run)


def add_runs(commands: Commands) -> None:
    """Add `runs` and what it holds."""
    group = add_group(commands, "runs", "look at the runs that are stored")
    listing = add_command(group, "list", "list runs, newest first", "runs.list_runs")
    listing.add_argument(
        "--limit", type=count_between(1, 100), default=20, metavar="N", help="(20)"
    )
    listing.add_argument(
        "--offset", type=count_between(0, 10**9), default=0, metavar="N", help="(0)"
    )
    listing.add_argument("--strategy", metavar="ID", help="only this strategy's")
    listing.add_argument(
        "--status", choices=["running", "completed", "partial", "failed"], help="only these"
    )
    add_json(listing)
    show = add_command(group, "show", "show one run with its orders", "runs.show_run")
    show.add_argument("run_id", metavar="RUN_ID")
    show.add_argument(
        "--wait",
        type=count_between(0, 3600),
        metavar="SECONDS",
        help="wait until it is no longer running, then end with the run's own exit code",
    )
    add_explain(show)
    add_json(show)
    export = add_command(
        group, "export", "write runs as JSON lines, for replay --file elsewhere", "export.export"
    )
    export.add_argument("run_ids", nargs="*", metavar="RUN_ID", help="only these (every run)")
    _add_selection(export)


def _add_selection(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--since", metavar="YYYY-MM-DD", help="only runs that started on this day (UTC) or later"
    )
    command.add_argument("--strategy", metavar="ID", help="only this strategy's")


def add_replay(commands: Commands) -> None:
    """Add `replay`."""
    replay = add_command(
        commands,
        "replay",
        "derive stored plans again with this version, and compare; sends nothing",
        "replay.replay_runs",
    )
    chosen = replay.add_mutually_exclusive_group(required=True)
    chosen.add_argument("run_id", nargs="?", metavar="RUN_ID")
    chosen.add_argument("--all", action="store_true", help="every stored run")
    chosen.add_argument("--file", metavar="FILE", help="what runs export wrote; - reads stdin")
    _add_selection(replay)
    add_json(replay)


def add_what_if(commands: Commands) -> None:
    """Add `what-if`."""
    what_if = add_command(
        commands,
        "what-if",
        "show what a stored run would have ordered, had something been otherwise; sends nothing",
        "what_if.show_what_if",
    )
    what_if.add_argument("run_id", metavar="RUN_ID")
    what_if.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="capital, cash_buffer, lot.AAPL, max_order_qty, reduce_only, and their like",
    )
    what_if.add_argument(
        "--price", dest="prices", action="append", default=[], metavar="SYMBOL=PRICE"
    )
    what_if.add_argument(
        "--weight", dest="weights", action="append", default=[], metavar="SYMBOL=WEIGHT"
    )
    add_json(what_if)
