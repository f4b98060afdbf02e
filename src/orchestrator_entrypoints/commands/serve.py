"""`orchestrator serve`: the HTTP service, until told to stop."""

import argparse
import signal

from orchestrator_entrypoints import serve as service
from orchestrator_entrypoints.commands.console import Console
from orchestrator_entrypoints.commands.edge import CommandFailure, settings_for
from orchestrator_entrypoints.commands.exit_codes import ExitCode
from orchestrator_entrypoints.logs import configure_logging


def serve(arguments: argparse.Namespace, _console: Console) -> int:
    """Serve; a stop by Ctrl-C or a termination is the ordinary end."""
    settings = settings_for(arguments)
    # The server handles both, and raises them again once it has ended.
    signal.signal(signal.SIGTERM, lambda *_: None)
    configure_logging(settings.log_level, settings.log_format)
    try:
        service.serve(settings)
    except service.AddressError as error:
        raise CommandFailure(str(error), ExitCode.UNAVAILABLE) from error
    except KeyboardInterrupt:
        return ExitCode.DONE
    return ExitCode.DONE
