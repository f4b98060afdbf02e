"""What the command line's exit code says, to a cron job or a script."""

from enum import IntEnum


class ExitCode(IntEnum):
    """One outcome each; 130 is Ctrl-C."""

    DONE = 0
    FAULT = 1
    USAGE = 2
    PARTIAL = 3
    FAILED = 4
    RUNNING = 5
    HALTED = 6
    UNAVAILABLE = 7
    ALREADY = 8
    CHANGED = 9
    DAMAGED = 10
    INTERRUPTED = 130


MEANINGS = {
    ExitCode.DONE: "done; a run completed",
    ExitCode.FAULT: "a fault of the program",
    ExitCode.USAGE: "an argument or a variable cannot be used; nothing was done",
    ExitCode.PARTIAL: (
        "not all orders of a run were placed, or limits or lacking prices let none go"
    ),
    ExitCode.FAILED: "a run failed, or what was asked for was refused or does not exist",
    ExitCode.RUNNING: "an order's fate is not known yet: look again, do not repeat by hand",
    ExitCode.HALTED: "the kill switch or the circuit breaker holds trading",
    ExitCode.UNAVAILABLE: "something that is needed did not answer",
    ExitCode.ALREADY: "the kill switch, or reduce-only mode, stands there already",
    ExitCode.CHANGED: "a replay: a past decision comes out otherwise with this version",
    ExitCode.DAMAGED: "a replay: a record is damaged, or of an unknown form; or its file was cut",
    ExitCode.INTERRUPTED: "Ctrl-C",
}
