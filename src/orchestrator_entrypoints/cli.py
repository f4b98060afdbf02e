"""The command line: `orchestrator`.

This module only reads arguments: what a command needs is imported when it runs, so that `--help`
answers at once. A command returns its exit code; whatever goes wrong is one line on stderr.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from orchestrator_core import __version__
from orchestrator_entrypoints.commands.backtest_arguments import (
    add_backtest_arguments,
    add_sweep_arguments,
)
from orchestrator_entrypoints.commands.declaring import (
    CommandParser,
    Commands,
    Handler,
    add_command,
    count_between,
    wide_help,
)
from orchestrator_entrypoints.commands.exit_codes import MEANINGS, ExitCode
from orchestrator_entrypoints.commands.operator_arguments import (
    add_config,
    add_controls,
    add_db,
    add_kill_switch,
    add_orders,
    add_prices,
    add_recover,
)
from orchestrator_entrypoints.commands.run_arguments import (
    add_replay,
    add_run,
    add_runs,
    add_what_if,
)


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
    parser = CommandParser(
        prog="orchestrator",
        description="Turns a strategy's signals into orders: once, within limits, and provably.",
        epilog=_exit_codes(),
        formatter_class=wide_help,
    )
    parser.add_argument("-V", "--version", action="version", version=f"orchestrator {__version__}")
    parser.set_defaults(usage=parser)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    _add_serve(commands)
    add_run(commands)
    add_runs(commands)
    add_replay(commands)
    add_what_if(commands)
    _add_backtest(commands)
    add_orders(commands)
    add_recover(commands)
    add_kill_switch(commands)
    add_controls(commands)
    add_prices(commands)
    add_db(commands)
    add_config(commands)
    _add_demo(commands)
    return parser


def _exit_codes() -> str:
    lines = (f"  {int(code):>3}  {meaning}" for code, meaning in MEANINGS.items())
    return "exit codes:\n" + "\n".join(lines)


def _add_serve(commands: Commands) -> None:
    serve = add_command(commands, "serve", "serve the HTTP API until told to end", "serve.serve")
    serve.add_argument("--host", help="address to listen on (HOST, 127.0.0.1)")
    serve.add_argument(
        "--port",
        type=count_between(0, 65_535),
        help="port to listen on, 0 for a free one (PORT, 8003)",
    )


def _add_backtest(commands: Commands) -> None:
    backtest = add_command(
        commands,
        "backtest",
        "go through history with the production core; write a report and tables",
        "backtest.backtest",
        takes_data=False,
    )
    add_backtest_arguments(backtest)
    sweep = add_command(
        commands,
        "sweep",
        "backtest many policies, on this machine or a cluster; goes on where it was killed",
        "sweep.sweep",
        takes_data=False,
    )
    add_sweep_arguments(sweep)


def _add_demo(commands: Commands) -> None:
    demo = add_command(
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


if __name__ == "__main__":
    sys.exit(main())
