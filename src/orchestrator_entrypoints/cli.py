"""The command line: `orchestrator`.

This module only reads arguments: what a command needs is imported when it runs, so that `--help`
answers at once. A command returns its exit code; whatever goes wrong is one line on stderr.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TypeAlias

from orchestrator_core import __version__
from orchestrator_entrypoints.commands.backtest_arguments import (
    add_backtest_arguments,
    add_sweep_arguments,
)
from orchestrator_entrypoints.commands.exit_codes import MEANINGS, ExitCode

# Names a function below `commands`, such as `runs.list_runs`, without importing it.
Handler = str
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    parser = build_parser()
    chosen = parser.parse_args(arguments)
    if not hasattr(chosen, "handler"):
        chosen.usage.print_help()
        return ExitCode.USAGE
    try:
        run_command = _load("edge.run_command")
        handler = _load(chosen.handler)
    except ModuleNotFoundError as missing:
        sys.stderr.write(
            f"orchestrator: {missing.name} is not installed: pip install 'orchestrator[service]'\n"
        )
        return ExitCode.FAULT
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    return run_command(handler, chosen)


def _load(handler: Handler) -> Callable[..., int]:
    module, _, name = handler.rpartition(".")
    loaded: Callable[..., int] = getattr(
        import_module(f"orchestrator_entrypoints.commands.{module}"), name
    )
    return loaded


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="orchestrator",
        description="Turns a strategy's signals into orders: once, within limits, and provably.",
        epilog=_exit_codes(),
        formatter_class=_wide,
    )
    parser.add_argument("-V", "--version", action="version", version=f"orchestrator {__version__}")
    parser.set_defaults(usage=parser)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    _add_serve(commands)
    _add_run(commands)
    _add_runs(commands)
    _add_replay(commands)
    _add_what_if(commands)
    _add_backtest(commands)
    _add_orders(commands)
    _add_recover(commands)
    _add_kill_switch(commands)
    _add_controls(commands)
    _add_prices(commands)
    _add_db(commands)
    _add_config(commands)
    _add_demo(commands)
    return parser


def _exit_codes() -> str:
    lines = (f"  {int(code):>3}  {meaning}" for code, meaning in MEANINGS.items())
    return "exit codes:\n" + "\n".join(lines)


def _wide(prog: str) -> argparse.HelpFormatter:
    return argparse.RawDescriptionHelpFormatter(prog, max_help_position=30)


def _group(commands: Commands, name: str, summary: str) -> Commands:
    group = commands.add_parser(
        name, help=summary, description=_sentence(summary), formatter_class=_wide
    )
    group.set_defaults(usage=group)
    return group.add_subparsers(title="commands", metavar="COMMAND")


def _command(
    commands: Commands, name: str, summary: str, handler: Handler, *, takes_data: bool = True
) -> argparse.ArgumentParser:
    command = commands.add_parser(
        name, help=summary, description=_sentence(summary), formatter_class=_wide
    )
    command.set_defaults(handler=handler)
    if takes_data:
        command.add_argument(
            "--data",
            metavar="FILE",
            help="use embedded parts: this SQLite file in place of Postgres and Redis",
        )
    return command


def _sentence(summary: str) -> str:
    return f"{summary[:1].upper()}{summary[1:]}."


def _add_json(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="write JSON, as the HTTP service does")


def _add_explain(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--explain", action="store_true", help="show each step from weight to order"
    )


def _add_serve(commands: Commands) -> None:
    serve = _command(commands, "serve", "serve the HTTP API until told to end", "serve.serve")
    serve.add_argument("--host", help="address to listen on (HOST, 127.0.0.1)")
    serve.add_argument(
        "--port", type=_count(0, 65_535), help="port to listen on, 0 for a free one (PORT, 8003)"
    )


def _add_run(commands: Commands) -> None:
    run = _command(
        commands, "run", "make one run against the configured parts and show it", "run.run"
    )
    run.add_argument(
        "--symbols", nargs="+", required=True, metavar="SYMBOL", help="spaces or commas between"
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
    _add_explain(run)
    _add_json(run)


def _add_runs(commands: Commands) -> None:
    group = _group(commands, "runs", "look at the runs that are stored")
    listing = _command(group, "list", "list runs, newest first", "runs.list_runs")
    listing.add_argument("--limit", type=_count(1, 100), default=20, metavar="N", help="(20)")
    listing.add_argument("--offset", type=_count(0, 10**9), default=0, metavar="N", help="(0)")
    listing.add_argument("--strategy", metavar="ID", help="only this strategy's")
    listing.add_argument(
        "--status", choices=["running", "completed", "partial", "failed"], help="only these"
    )
    _add_json(listing)
    show = _command(group, "show", "show one run with its orders", "runs.show_run")
    show.add_argument("run_id", metavar="RUN_ID")
    show.add_argument(
        "--wait",
        type=_count(0, 3600),
        metavar="SECONDS",
        help="wait until it is no longer running, then end with the run's own exit code",
    )
    _add_explain(show)
    _add_json(show)
    export = _command(
        group, "export", "write runs as JSON lines, for replay --file elsewhere", "export.export"
    )
    export.add_argument("run_ids", nargs="*", metavar="RUN_ID", help="only these (every run)")
    _add_selection(export)


def _add_selection(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--since", metavar="YYYY-MM-DD", help="only runs that started on this day (UTC) or later"
    )
    command.add_argument("--strategy", metavar="ID", help="only this strategy's")


def _add_replay(commands: Commands) -> None:
    replay = _command(
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
    _add_json(replay)


def _add_what_if(commands: Commands) -> None:
    what_if = _command(
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
    _add_json(what_if)


def _add_backtest(commands: Commands) -> None:
    backtest = _command(
        commands,
        "backtest",
        "go through history with the production core; write a report and tables",
        "backtest.backtest",
        takes_data=False,
    )
    add_backtest_arguments(backtest)
    sweep = _command(
        commands,
        "sweep",
        "backtest many policies, on this machine or a cluster; goes on where it was killed",
        "sweep.sweep",
        takes_data=False,
    )
    add_sweep_arguments(sweep)


def _add_orders(commands: Commands) -> None:
    group = _group(commands, "orders", "orders whose fate is not settled")
    listing = _command(group, "open", "list the open orders of every run", "orders.list_open")
    resolve = _command(
        group,
        "resolve",
        "close an order that waits for an operator, on evidence, and show its run",
        "orders.resolve",
    )
    resolve.add_argument("client_order_id", metavar="CLIENT_ORDER_ID")
    resolve.add_argument(
        "--as",
        dest="resolved_as",
        required=True,
        choices=["accepted", "rejected", "not_placed"],
        help="what became of it",
    )
    resolve.add_argument("--operator", required=True, help="who says so; kept with the order")
    resolve.add_argument(
        "--evidence", required=True, metavar="TEXT", help="what it rests on; kept with the order"
    )
    resolve.add_argument(
        "--broker-order-id",
        metavar="ID",
        help="of an accepted order that the gateway does not show",
    )
    resolve.add_argument(
        "--unasked",
        action="store_true",
        help="close it although the gateway cannot be asked; kept with the order",
    )
    resolve.set_defaults(explain=False)
    for command in (listing, resolve):
        _add_json(command)


def _add_recover(commands: Commands) -> None:
    recover = _command(
        commands,
        "recover",
        "recover runs and ask about orders, as a service does, until nothing is due",
        "recover.recover",
    )
    _add_json(recover)


def _add_kill_switch(commands: Commands) -> None:
    group = _group(commands, "kill-switch", "stop all trading, and let it go on")
    status = _command(group, "status", "say whether orders may leave", "kill_switch.status")
    engage = _command(
        group, "engage", "stop all trading; wait until nothing is on the wire", "kill_switch.engage"
    )
    engage.add_argument("--reason", required=True)
    engage.add_argument(
        "--cancel-open", action="store_true", help="then cancel what is live at the gateway"
    )
    release = _command(group, "disengage", "let trading go on", "kill_switch.disengage")
    init = _command(group, "init", "create the state where there is none", "kill_switch.initialise")
    for command in (engage, release, init):
        command.add_argument("--operator", required=True, help="who does this; kept in the history")
    for command in (release, init):
        command.add_argument("--notes")
    history = _command(group, "history", "list the changes, newest first", "kill_switch.history")
    history.add_argument("--limit", type=_count(1, 1000), default=20, metavar="N", help="(20)")
    for command in (status, engage, release, init, history):
        _add_json(command)


def _add_controls(commands: Commands) -> None:
    group = _group(commands, "controls", "reduce-only mode, and strategies that failed too often")
    show = _command(group, "show", "say how the strategy's controls stand", "controls.show")
    reduce_only = _command(
        group,
        "reduce-only",
        "let only orders go that shrink a position, or all again",
        "controls.reduce_only",
    )
    reduce_only.add_argument("state", choices=["on", "off"])
    rearm = _command(group, "rearm", "let a strategy go on that failed too often", "controls.rearm")
    for command in (reduce_only, rearm):
        command.add_argument("--operator", required=True, help="who does this; kept for good")
        command.add_argument("--notes", required=True, help="why; kept for good")
    for command in (show, reduce_only, rearm):
        _add_json(command)


def _add_prices(commands: Commands) -> None:
    group = _group(commands, "prices", "prices of embedded parts")
    command = _command(
        group, "set", "write prices as of now into embedded parts", "prices.set_prices"
    )
    source = command.add_mutually_exclusive_group(required=True)
    source.add_argument("quotes", nargs="*", default=[], metavar="SYMBOL=PRICE")
    source.add_argument("--csv", metavar="FILE", help="lines of SYMBOL,PRICE; - reads stdin")
    command.add_argument(
        "--close",
        metavar="DATE",
        help="they are the closes of that day (YYYY-MM-DD), which PRICE_BAND holds prices against",
    )


def _add_db(commands: Commands) -> None:
    group = _group(commands, "db", "the run database")
    _command(group, "upgrade", "bring the run database to this version", "database.upgrade")


def _add_config(commands: Commands) -> None:
    group = _group(commands, "config", "how this service is set up")
    check = _command(
        group,
        "check",
        "print the settings in force, and what each peer and store answers",
        "config.check",
    )
    _add_json(check)


def _add_demo(commands: Commands) -> None:
    demo = _command(
        commands,
        "demo",
        "show the whole service at work, with peers of its own, on real prices",
        "demo.demo",
        takes_data=False,
    )
    demo.add_argument("--keep", action="store_true", help="stay up until Ctrl-C")
    demo.add_argument(
        "--directory",
        default="orchestrator-demo",
        metavar="DIR",
        help="where the data is left (orchestrator-demo)",
    )


def _count(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if text.isascii() and text.isdecimal() and least <= int(text) <= most:
            return int(text)
        raise argparse.ArgumentTypeError(f"expected a whole number from {least} to {most}")

    return parse


if __name__ == "__main__":
    sys.exit(main())
