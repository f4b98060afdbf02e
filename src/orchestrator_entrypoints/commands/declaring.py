"""How a command of the command line is declared; imports nothing that commands need."""

import argparse
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

# Names a function below `commands`, such as `runs.list_runs`, without importing it.
Handler = str
Commands: TypeAlias = "argparse._SubParsersAction[CommandParser]"  # noqa: SLF001


class CommandParser(argparse.ArgumentParser):
    """Takes arguments as they are written, or refuses them under its own usage.

    No option may be cut short, and one of a single value may not be given twice: of two the first
    would be dropped in silence. Parsers of commands are of the same class.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)
        self.register("action", None, _StoreOnce)
        self.given: set[str] = set()

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Return what was given; end the program where something is left over."""
        self.given.clear()
        found, left = super().parse_known_args(args, namespace)
        if left:
            self.error(f"unrecognized arguments: {' '.join(left)}")
        return found, left


class _StoreOnce(argparse.Action):
    """Keeps the value of an option, which may be given once."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        if option_string is not None and isinstance(parser, CommandParser):
            if self.dest in parser.given:
                raise argparse.ArgumentError(self, "was given twice")
            parser.given.add(self.dest)
        setattr(namespace, self.dest, values)


def wide_help(prog: str) -> argparse.HelpFormatter:
    """Return a help formatter that keeps lines as they are written, and names beside meanings."""
    return argparse.RawDescriptionHelpFormatter(prog, max_help_position=30)


def add_group(commands: Commands, name: str, summary: str) -> Commands:
    """Add a command that only holds others; return what they are added to."""
    group = commands.add_parser(
        name, help=summary, description=_sentence(summary), formatter_class=wide_help
    )
    group.set_defaults(usage=group)
    return group.add_subparsers(title="commands", metavar="COMMAND")


def add_command(
    commands: Commands, name: str, summary: str, handler: Handler, *, takes_data: bool = True
) -> argparse.ArgumentParser:
    """Add a command, which may be told to use embedded parts.

    Args:
        commands: Of the program, or of a group.
        name: As it is typed.
        summary: What it does, in words that begin small and end without a point.
        handler: Does it.
        takes_data: Whether `--data` may name embedded parts.
    """
    command = commands.add_parser(
        name, help=summary, description=_sentence(summary), formatter_class=wide_help
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


def add_json(command: argparse.ArgumentParser) -> None:
    """Let a command write JSON."""
    command.add_argument("--json", action="store_true", help="write JSON, as the HTTP service does")


def add_explain(command: argparse.ArgumentParser) -> None:
    """Let a command show how it came to its orders."""
    command.add_argument(
        "--explain", action="store_true", help="show each step from weight to order"
    )


def count_between(least: int, most: int) -> Callable[[str], int]:
    """Return what reads a whole number within bounds, both included."""

    def parse(text: str) -> int:
        if text.isascii() and text.isdecimal() and least <= int(text) <= most:
            return int(text)
        raise argparse.ArgumentTypeError(f"expected a whole number from {least} to {most}")

    return parse
