"""What the command line takes, and how failures end."""

import argparse
import io
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from orchestrator_core.errors import InvalidRequest, OutcomeUnknown, TradingHalted, Unavailable
from orchestrator_entrypoints.cli import build_parser, main
from orchestrator_entrypoints.commands.console import Console
from orchestrator_entrypoints.commands.edge import (
    CommandFailure,
    Handler,
    guarded,
    settings_for,
)
from orchestrator_entrypoints.commands.exit_codes import MEANINGS, ExitCode
from orchestrator_entrypoints.settings import SettingsError


def handlers(parser: argparse.ArgumentParser) -> Iterator[str]:
    handler = parser.get_default("handler")
    if handler is not None:
        yield handler
    for action in parser._actions:  # noqa: SLF001 - argparse offers no other way in
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for command in action.choices.values():
                yield from handlers(command)


@pytest.mark.parametrize("handler", sorted(handlers(build_parser())))
def test_every_command_is_there(handler: str) -> None:
    module, _, name = handler.rpartition(".")
    assert callable(getattr(import_module(f"orchestrator_entrypoints.commands.{module}"), name))


def test_every_exit_code_is_explained_by_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert set(MEANINGS) == set(ExitCode)
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert all(meaning in said for meaning in MEANINGS.values())


@pytest.mark.parametrize(
    "arguments", [[], ["runs"], ["orders"], ["kill-switch"], ["config"], ["db"]]
)
def test_half_a_command_is_a_usage_error_that_shows_the_rest(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == ExitCode.USAGE
    assert "commands:" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["fly"],
        ["run"],
        ["run", "--symbols"],
        ["serve", "--port", "65536"],
        ["serve", "--port", "http"],
        ["runs", "list", "--limit", "0"],
        ["runs", "list", "--limit", "101"],
        ["runs", "list", "--offset", "-1"],
        ["runs", "list", "--status", "done"],
        ["runs", "show"],
        ["runs", "show", "x", "--wait", "-1"],
        ["orders", "resolve", "x", "--as", "rejected", "--operator", "me"],
        ["orders", "resolve", "x", "--as", "rejected", "--evidence", "e"],
        ["orders", "resolve", "x", "--operator", "me", "--evidence", "e"],
        ["orders", "resolve", "x", "--as", "filled", "--operator", "me", "--evidence", "e"],
        ["kill-switch", "engage", "--operator", "me"],
        ["kill-switch", "engage", "--reason", "so"],
        ["kill-switch", "disengage"],
        ["prices", "set", "A=1", "--csv", "f"],
    ],
)
def test_arguments_that_cannot_be_used_are_a_usage_error(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == ExitCode.USAGE
    assert "error:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["run", "--symbols", "A", "--capital", "1", "--capital", "2"],
            "--capital: was given twice",
        ),
        (["run", "--symbols", "A", "--data", "x", "--data=x"], "--data: was given twice"),
        (["runs", "list", "--limit", "20", "--limit", "20"], "--limit: was given twice"),
        (["backtest", "--prices", "x", "--prices", "y"], "--prices: was given twice"),
        (["run", "--symbols", "A", "--cap", "1"], "unrecognized arguments: --cap 1"),
        (["runs", "list", "--dry-run"], "unrecognized arguments: --dry-run"),
        (["runs", "show", "x", "y"], "unrecognized arguments: y"),
    ],
)
def test_what_would_be_dropped_or_guessed_is_refused_under_the_commands_own_usage(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == ExitCode.USAGE
    said = capsys.readouterr().err
    assert said.endswith(f"{words}\n")
    command = " ".join(word for word in arguments[:2] if word.isalpha() and word != "x")
    assert said.startswith(f"usage: orchestrator {command} ")


def test_symbols_may_be_given_again() -> None:
    parser = build_parser()
    given = ["run", "--symbols", "AAPL", "KO", "--symbols", "MSFT"]
    for _ in range(2):
        assert parser.parse_args(given).symbols == ["AAPL", "KO", "MSFT"]
        # A second reading by the same parser is a reading of its own.
        assert parser.parse_args([*given, "--capital", "1"]).capital == "1"


def test_a_data_file_on_the_command_line_stands_over_the_environment() -> None:
    chosen = build_parser().parse_args(["runs", "list", "--data", "here.db"])
    settings = settings_for(chosen, {"ORCHESTRATOR_DATA": "there.db"})
    assert (settings.embedded, settings.data) == (True, "here.db")
    without = build_parser().parse_args(["runs", "list"])
    assert settings_for(without, {}).embedded is False


def ended_by(error: BaseException) -> tuple[int, str]:
    def handler(_arguments: argparse.Namespace, _console: Console) -> int:
        raise error

    checked: Handler = handler
    err = io.StringIO()
    code = guarded(checked, argparse.Namespace(), Console(out=io.StringIO(), err=err))
    return code, err.getvalue()


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (InvalidRequest("capital", "expected more"), ExitCode.USAGE, "capital: expected more"),
        (CommandFailure("no such run", ExitCode.FAILED), ExitCode.FAILED, "no such run"),
        (
            TradingHalted("odd fills", engaged=True, engaged_by="ann"),
            ExitCode.HALTED,
            "trading is halted: odd fills, engaged by ann",
        ),
        (Unavailable("runs", "get_run", "refused"), ExitCode.UNAVAILABLE, "run database: refused"),
        (OutcomeUnknown("runs", "close_run", "lost"), ExitCode.UNAVAILABLE, "run database: lost"),
        (PermissionError(13, "Permission denied", "x.db"), ExitCode.FAULT, "x.db: Permission"),
        (KeyError("x"), ExitCode.FAULT, "a fault of the program: KeyError: 'x'"),
    ],
)
def test_a_failure_is_one_line_and_a_code(error: Exception, code: ExitCode, line: str) -> None:
    ended, said = ended_by(error)
    assert ended == code
    assert said.startswith(f"orchestrator: {line}")
    assert said.count("\n") == 1


def test_every_variable_that_cannot_be_used_is_named() -> None:
    ended, said = ended_by(SettingsError(("CAPITAL: expected a number", "PORT: expected a port")))
    assert ended == ExitCode.USAGE
    assert said == "orchestrator: CAPITAL: expected a number\norchestrator: PORT: expected a port\n"


def test_an_interrupt_ends_quietly() -> None:
    assert ended_by(KeyboardInterrupt()) == (ExitCode.INTERRUPTED, "")


@pytest.mark.parametrize(
    "command",
    [
        ["runs", "list"],
        ["kill-switch", "engage", "--operator", "ann", "--reason", "odd fills"],
        ["kill-switch", "disengage", "--operator", "ann"],
    ],
)
def test_a_data_file_that_is_not_there_is_a_mistake_and_is_not_made(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "typo.db"
    assert main([*command, "--data", str(missing)]) == ExitCode.USAGE
    assert "there is no such data file" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
