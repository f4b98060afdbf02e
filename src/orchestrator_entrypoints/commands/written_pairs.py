"""What is written on the command line as NAME=VALUE."""

from collections.abc import Callable, Iterable
from typing import Any

from orchestrator_entrypoints.commands.edge import CommandFailure
from orchestrator_entrypoints.commands.exit_codes import ExitCode
from orchestrator_entrypoints.written_fields import LIMIT_READERS

# What tightens a run, and is no limit by its name.
_OPTIONS = {"capital": "--capital", "max_position_size": "--max-position-size"}


def pairs(texts: Iterable[str], option: str) -> Iterable[tuple[str, str]]:
    """Return name and value of each NAME=VALUE.

    Raises:
        CommandFailure: One is of another form, or a name is given twice.
    """
    seen = set()
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise CommandFailure(
                f"{option}: expected NAME=VALUE, got {text[:60]!r}", ExitCode.USAGE
            )
        if name.strip().upper() in seen:
            raise CommandFailure(f"{option}: {name[:60]} is given twice", ExitCode.USAGE)
        seen.add(name.strip().upper())
        yield name.strip(), value.strip()


def parsed(option: str, name: str, text: str, read: Callable[[str], Any]) -> Any:
    """Return a value as it is read.

    Raises:
        CommandFailure: It cannot be.
    """
    try:
        return read(text)
    except ValueError as problem:
        what = f"{option} {name[:60]}".rstrip()
        raise CommandFailure(f"{what}: {problem}", ExitCode.USAGE) from None


def limits_given(texts: Iterable[str], option: str) -> dict[str, Any]:
    """Return the limits of a command line, by name.

    Raises:
        CommandFailure: A name is none of a limit, or a value cannot be read.
    """
    limits = {}
    for name, text in pairs(texts, option):
        if name not in LIMIT_READERS:
            known = ", ".join(sorted(LIMIT_READERS))
            own = f"an option by itself, {_OPTIONS[name]}, and " if name in _OPTIONS else ""
            problem = f"{option}: {name[:60]!r} is {own}none of {known}"
            raise CommandFailure(problem, ExitCode.USAGE)
        limits[name] = parsed(option, name, text, LIMIT_READERS[name])
    return limits
