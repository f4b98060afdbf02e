"""What operators' commands take on the command line."""

from orchestrator_entrypoints.commands.declaring import (
    Commands,
    add_command,
    add_group,
    add_json,
    count_between,
)


def add_orders(commands: Commands) -> None:
    """Add `orders` and what it holds."""
    group = add_group(commands, "orders", "orders whose fate is not settled")
    listing = add_command(group, "open", "list the open orders of every run", "orders.list_open")
    live = add_command(
        group,
        "live",
        "list accepted orders that have not ended, and what the gateway says of each now",
        "live_orders.list_live",
    )
    resolve = add_command(
        group,
        "resolve",
        "close an order that waits for an operator, or that the gateway lost, on evidence",
        "orders.resolve",
    )
    resolve.add_argument("client_order_id", metavar="CLIENT_ORDER_ID")
    resolve.add_argument(
        "--as",
        dest="resolved_as",
        required=True,
        choices=["accepted", "rejected", "not_placed", "ended"],
        help="what became of it; ended: accepted, and unknown to the gateway now",
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
        help="close it although the gateway cannot be asked, or cannot tell; kept with the order",
    )
    resolve.set_defaults(explain=False)
    for command in (listing, live, resolve):
        add_json(command)


def add_recover(commands: Commands) -> None:
    """Add `recover`."""
    recover = add_command(
        commands,
        "recover",
        "recover runs and ask about orders, as a service does, until nothing is due",
        "recover.recover",
    )
    add_json(recover)


def add_kill_switch(commands: Commands) -> None:
    """Add `kill-switch` and what it holds."""
    group = add_group(commands, "kill-switch", "stop all trading, and let it go on")
    status = add_command(group, "status", "say whether orders may leave", "kill_switch.status")
    engage = add_command(
        group, "engage", "stop all trading; wait until nothing is on the wire", "kill_switch.engage"
    )
    engage.add_argument("--reason", required=True)
    engage.add_argument(
        "--cancel-open", action="store_true", help="then cancel what is live at the gateway"
    )
    release = add_command(group, "disengage", "let trading go on", "kill_switch.disengage")
    init = add_command(
        group, "init", "create the state where there is none", "kill_switch.initialise"
    )
    for command in (engage, release, init):
        command.add_argument("--operator", required=True, help="who does this; kept in the history")
    for command in (release, init):
        command.add_argument("--notes")
    history = add_command(group, "history", "list the changes, newest first", "kill_switch.history")
    history.add_argument(
        "--limit", type=count_between(1, 1000), default=20, metavar="N", help="(20)"
    )
    for command in (status, engage, release, init, history):
        add_json(command)


def add_controls(commands: Commands) -> None:
    """Add `controls` and what it holds."""
    group = add_group(
        commands, "controls", "reduce-only mode, and strategies that failed too often"
    )
    show = add_command(group, "show", "say how the strategy's controls stand", "controls.show")
    reduce_only = add_command(
        group,
        "reduce-only",
        "let only orders go that shrink a position, or all again",
        "controls.reduce_only",
    )
    reduce_only.add_argument("state", choices=["on", "off"])
    rearm = add_command(
        group, "rearm", "let a strategy go on that failed too often", "controls.rearm"
    )
    for command in (reduce_only, rearm):
        command.add_argument("--operator", required=True, help="who does this; kept for good")
        command.add_argument("--notes", required=True, help="why; kept for good")
    for command in (show, reduce_only, rearm):
        add_json(command)


def add_prices(commands: Commands) -> None:
    """Add `prices` and what it holds."""
    group = add_group(commands, "prices", "prices of embedded parts")
    command = add_command(
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


def add_db(commands: Commands) -> None:
    """Add `db` and what it holds."""
    group = add_group(commands, "db", "the run database")
    add_command(group, "upgrade", "bring the run database to this version", "database.upgrade")


def add_config(commands: Commands) -> None:
    """Add `config` and what it holds."""
    group = add_group(commands, "config", "how this service is set up")
    check = add_command(
        group,
        "check",
        "print the settings in force, and what each peer and store answers",
        "config.check",
    )
    add_json(check)
