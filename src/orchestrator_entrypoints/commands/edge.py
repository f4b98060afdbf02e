"""The outermost edge of the command line: every failure becomes one line and an exit code."""

import argparse
import os
import sys
from collections.abc import Callable, Mapping

from orchestrator_core.errors import InvalidRequest, PortError, TradingHalted
from orchestrator_entrypoints.commands.console import Console
from orchestrator_entrypoints.commands.exit_codes import ExitCode
from orchestrator_entrypoints.reports.extras import MissingExtra
from orchestrator_entrypoints.settings import Settings, SettingsError, read_settings

Handler = Callable[[argparse.Namespace, Console], int]


class CommandFailure(Exception):
    """A command cannot go on; says why in a line.

    Attributes:
        code: What the command ends with.
    """

    def __init__(self, message: str, code: ExitCode) -> None:
        super().__init__(message)
        self.code = code


def run_command(handler: Handler, arguments: argparse.Namespace) -> int:
    """Run a command on this process's own streams; return its exit code."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere:  # noqa: PTH123 - no path of ours
        # A stream that was closed before the start is None.
        console = Console(out=sys.stdout or nowhere, err=sys.stderr or nowhere)
        return guarded(handler, arguments, console)


def guarded(handler: Handler, arguments: argparse.Namespace, console: Console) -> int:
    """Run a command; turn whatever it raises into a line and an exit code."""
    try:
        return handler(arguments, console)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except CommandFailure as failure:
        console.error(str(failure))
        return failure.code
    except (SettingsError, InvalidRequest, MissingExtra) as problem:
        console.error(str(problem))
        return ExitCode.USAGE
    except TradingHalted as halted:
        who = "" if halted.engaged_by is None else f", engaged by {halted.engaged_by}"
        console.error(f"trading is halted: {halted}{who}")
        return ExitCode.HALTED
    except PortError as error:
        console.error(describe_port_error(error))
        return ExitCode.UNAVAILABLE
    except OSError as error:
        console.error(describe_os_error(error))
        return ExitCode.FAULT
    except Exception as error:  # noqa: BLE001 - the outermost edge
        console.error(f"a fault of the program: {type(error).__name__}: {error}")
        return ExitCode.FAULT


# What an operator calls the thing behind a port.
_BEHIND = {
    "runs": "run database",
    "kill_switch": "kill switch's shared state",
    "signals": "Signal Service",
    "prices": "price store",
    "orders": "Execution Gateway",
    "positions": "Execution Gateway",
    "breaker": "circuit breaker",
    "budget": "order budget",
}


def describe_port_error(error: PortError) -> str:
    """Return one line that says what did not answer, and how."""
    return f"{_BEHIND.get(error.port, error.port)}: {error.cause}"


def describe_os_error(error: OSError) -> str:
    """Return one line that says what could not be done, and with which file."""
    words = error.strerror or str(error)
    return words if error.filename is None else f"{error.filename}: {words}"


def words(text: str, argument: str) -> str:
    """Return what an operator said, without the blanks around it.

    Raises:
        CommandFailure: Nothing but blanks.
    """
    if not text.strip():
        raise CommandFailure(f"{argument}: expected some words", ExitCode.USAGE)
    return text.strip()


def settings_for(
    arguments: argparse.Namespace, environ: Mapping[str, str] = os.environ
) -> Settings:
    """Return the settings in force: the environment, and what the command line says over it.

    Raises:
        SettingsError: A variable cannot be used.
    """
    over: dict[str, str] = {}
    given = vars(arguments)
    if given.get("data") is not None:
        over |= {"ORCHESTRATOR_EMBEDDED": "true", "ORCHESTRATOR_DATA": given["data"]}
    if given.get("host") is not None:
        over["HOST"] = given["host"]
    if given.get("port") is not None:
        over["PORT"] = str(given["port"])
    return read_settings({**environ, **over})
