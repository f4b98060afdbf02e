"""`orchestrator demo`: both peers and the service on loopback, and a story told with them."""

import asyncio
import logging
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

import httpx
from attrs import frozen

from orchestrator_core.errors import PortError
from orchestrator_core.model import Quote
from orchestrator_entrypoints.app import create_app
from orchestrator_entrypoints.commands.console import Console
from orchestrator_entrypoints.commands.exit_codes import ExitCode
from orchestrator_entrypoints.demo.client import ServiceClient
from orchestrator_entrypoints.demo.peers import PAPER, Peers, running_peers
from orchestrator_entrypoints.demo.servers import ServerFailure, serving, wait_for_signal
from orchestrator_entrypoints.demo.signal_service import STRATEGY
from orchestrator_entrypoints.demo.story import SYMBOLS, Stage, StoryFailure, tell
from orchestrator_entrypoints.logs import configure_logging
from orchestrator_entrypoints.settings import LogFormat, LogLevel, Settings, read_settings
from orchestrator_entrypoints.wiring import put_embedded_prices, wire

DATA_FILE = "orchestrator.db"
LOG_FILE = "service.log"
REFRESH_SECONDS = 5.0
SOURCE = "demo"


@frozen
class Place:
    """Where a demo leaves its data."""

    directory: Path

    @property
    def data(self) -> Path:
        """The SQLite file."""
        return self.directory / DATA_FILE

    @property
    def log(self) -> Path:
        """The service's log."""
        return self.directory / LOG_FILE


def run_demo(directory: Path, *, keep: bool, console: Console) -> ExitCode:
    """Show the whole service at work; stay up until Ctrl-C where `keep` says so."""
    began = monotonic()
    place = Place(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with _logging_to(place.log), running_peers(flags=PAPER) as peers:
            settings = settings_of(place, peers)
            _put_prices(settings, peers)
            with serving([create_app(wire(settings))], ports=[0]) as (url,):
                _introduce(console, url, place, peers)
                with ServiceClient(url) as service:
                    first_run = tell(_stage(console, service, peers))
                console.line()
                console.line(f"Shown in {monotonic() - began:.1f} s.")
                _say_where_to_look(console, place, first_run)
                if keep:
                    _keep_up(console, url, settings, peers)
    except (StoryFailure, ServerFailure) as failure:
        console.error(f"the demo did not go as it should: {failure} (see {place.log})")
        return ExitCode.FAULT
    except httpx.HTTPError as error:
        console.error(f"the service did not answer: {error!r} (see {place.log})")
        return ExitCode.FAULT
    return ExitCode.DONE


def settings_of(place: Place, peers: Peers) -> Settings:
    """Return the demo's settings, whatever the environment says."""
    return read_settings(
        {
            "ORCHESTRATOR_EMBEDDED": "true",
            "ORCHESTRATOR_DATA": str(place.data),
            "SIGNAL_SERVICE_URL": peers.signal_service_url,
            "EXECUTION_GATEWAY_URL": peers.execution_gateway_url,
            "ENVIRONMENT": "demo",
            "STRATEGY_ID": STRATEGY,
            "DRY_RUN": "false",
            "ALPACA_PAPER": "true",
            "RECOVERY_SECONDS": "0.05",
        }
    )


def _stage(console: Console, service: ServiceClient, peers: Peers) -> Stage:
    return Stage(
        console=console,
        service=service,
        ledger=peers.ledger,
        way=peers.way,
        rebalance_key=f"demo-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}",
    )


def _put_prices(settings: Settings, peers: Peers) -> None:
    now = datetime.now(UTC)
    quotes = [
        Quote(symbol, price, as_of=now, source=SOURCE)
        for symbol, price in peers.prices.last_closes().items()
    ]
    asyncio.run(put_embedded_prices(settings, quotes))


def _introduce(console: Console, url: str, place: Place, peers: Peers) -> None:
    console.line("Real closes of real stocks, peers and broker of our own, all on this machine.")
    console.line()
    last = peers.prices.dates[-1]
    console.pairs(
        (
            ("Signal Service", f"{peers.signal_service_url}  12-1 momentum as of {last}"),
            ("Execution Gateway", f"{peers.execution_gateway_url}  paper, fills at the close"),
            ("orchestrator", f"{url}  the service itself, on embedded parts"),
            ("data", str(place.data)),
            ("prices", f"the closes of {last}, stamped now as if live"),
        )
    )


def _say_where_to_look(console: Console, place: Place, run_id: str) -> None:
    program, data = as_typed(sys.argv[0]), shlex.quote(str(place.data))
    console.line("Each demo is a rebalance of its own, so it orders anew. What it left:")
    for command in (
        "runs list",
        f"runs show {run_id} --explain",
        "replay --all",
        "kill-switch history",
    ):
        console.line(f"  {program} {command} --data {data}")


def as_typed(started_as: str) -> str:
    """Return what starts this program once more from a shell in this directory.

    Args:
        started_as: What the interpreter says it was started by: a script, or a package's main file.
    """
    script = Path(started_as)
    if script.name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m {script.parent.name}"
    found = shutil.which(script.name)
    is_on_path = found is not None and script.exists() and script.samefile(found)
    return script.name if is_on_path else shlex.quote(started_as)


def _keep_up(console: Console, url: str, settings: Settings, peers: Peers) -> None:
    symbols = ", ".join(f'"{symbol}"' for symbol in SYMBOLS[:3])
    console.line()
    console.line("Up until Ctrl-C. In another terminal:")
    console.line(f"  curl -s {url}/health")
    console.line(f"  curl -s {url}/api/v1/orchestration/run -H 'Content-Type: application/json' \\")
    console.line(f"""       -d '{{"symbols": [{symbols}], "rebalance_key": "mine"}}'""")
    console.line(f"and {url}/docs in a browser.")

    def refresh() -> None:
        try:
            _put_prices(settings, peers)
        except PortError as error:
            console.note(f"prices were not refreshed: {error.cause}")

    wait_for_signal(each=refresh, seconds=REFRESH_SECONDS)
    console.line("Ended.")


@contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    with path.open("a", encoding="utf-8") as stream:
        configure_logging(LogLevel.INFO, LogFormat.JSON, stream=stream)
        try:
            yield
        finally:
            logging.getLogger().handlers = []
