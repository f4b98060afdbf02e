"""`orchestrator replay`: past decisions, derived again with the version installed now."""

import argparse
import hashlib
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from attrs import define, field

from orchestrator_core.ports import RunRepository
from orchestrator_core.replay import Replay, Verdict, replay
from orchestrator_core.run_files import NotSealed, read_export
from orchestrator_core.runs import RunFilter
from orchestrator_entrypoints.commands.console import Console
from orchestrator_entrypoints.commands.edge import CommandFailure, describe_os_error
from orchestrator_entrypoints.commands.exit_codes import ExitCode
from orchestrator_entrypoints.commands.run_output import counted_as
from orchestrator_entrypoints.commands.stored import (
    read_all,
    read_one,
    run_id_of,
    selection_of,
    with_runs,
)

SHOWN = 20


@define
class _Findings:
    """What replays found so far; only what is shown is kept.

    Attributes:
        hash: Of what was decided in every run, in their order.
    """

    console: Console
    as_json: bool
    verdicts: Counter[Verdict] = field(factory=Counter)
    decisions: int = 0
    hash: "hashlib._Hash" = field(factory=hashlib.sha256)
    shown: list[dict[str, object]] = field(factory=list)

    def add(self, found: Replay) -> None:
        """Take in what replaying one record found."""
        self.verdicts[found.verdict] += 1
        self.decisions += found.decisions
        self.hash.update(f"{found.run_id} {found.decided_hash}\n".encode())
        if found.verdict is not Verdict.EQUAL:
            self.tell(str(found.run_id), found)

    def add_damaged_line(self, number: int, cause: str) -> None:
        """Take in a line of a file that holds no record."""
        self.verdicts[Verdict.DAMAGED] += 1
        self._keep(f"line {number}", Verdict.DAMAGED, [cause])

    def tell(self, name: str, found: Replay) -> None:
        """Keep what is to be shown of a run."""
        said = [str(each) for each in found.differences]
        self._keep(name, found.verdict, said or [found.cause or "no cause"])

    def _keep(self, name: str, verdict: Verdict, said: list[str]) -> None:
        if self.as_json or len(self.shown) < SHOWN:
            self.shown.append({"run": name, "verdict": str(verdict), "said": said})

    @property
    def code(self) -> ExitCode:
        """What the command ends with: what cannot be read outweighs what came out otherwise.

        Nothing to compare is no agreement.
        """
        if self.verdicts[Verdict.DAMAGED] or self.verdicts[Verdict.UNKNOWN_FORM]:
            return ExitCode.DAMAGED
        if not self.verdicts.total():
            return ExitCode.FAILED
        return ExitCode.CHANGED if self.verdicts[Verdict.CHANGED] else ExitCode.DONE

    def write(self) -> None:
        """Write what was found."""
        counts = {str(verdict): self.verdicts[verdict] for verdict in Verdict}
        total = sum(self.verdicts.values())
        if self.as_json:
            self.console.json(
                {
                    "runs": total,
                    "decisions": self.decisions,
                    **counts,
                    "decided_hash": self.hash.hexdigest(),
                    "not_equal": self.shown,
                }
            )
            return
        for each in self.shown:
            self.console.line(f"run {each['run']}: {str(each['verdict']).replace('_', ' ')}")
            for said in each["said"] if isinstance(each["said"], list) else ():
                self.console.line(f"  {said}")
        untold = total - self.verdicts[Verdict.EQUAL] - len(self.shown)
        if untold:
            self.console.line(f"and {untold:,} more that are not equal: --json names them all")
        said = [f"{count:,} {word.replace('_', ' ')}" for word, count in counts.items() if count]
        self.console.line(
            f"{counted_as(total, 'run')} replayed, {counted_as(self.decisions, 'decision')}: "
            f"{', '.join(said) or 'nothing to compare'}"
        )
        self.console.line(f"what was decided: sha256 {self.hash.hexdigest()}")


def replay_runs(arguments: argparse.Namespace, console: Console) -> int:
    """Replay one run, every stored one, or those of a file."""
    is_selected = arguments.since is not None or arguments.strategy is not None
    if is_selected and not arguments.all:
        raise CommandFailure("--since and --strategy go with --all", ExitCode.USAGE)
    findings = _Findings(console, as_json=arguments.json)
    if arguments.file is not None:
        with _opened(arguments.file) as stream:
            _replay_file(stream, findings, name=arguments.file)
    elif arguments.all:
        _replay_all(arguments, findings)
    else:
        _replay_one(arguments, findings)
    findings.write()
    return findings.code


def _replay_one(arguments: argparse.Namespace, findings: _Findings) -> None:
    run_id = run_id_of(arguments.run_id)

    async def work(runs: RunRepository) -> None:
        findings.add(replay(await read_one(runs, run_id)))

    with_runs(arguments, work)


def _replay_all(arguments: argparse.Namespace, findings: _Findings) -> None:
    matching = selection_of(arguments)

    async def work(runs: RunRepository) -> None:
        total = None
        if matching.since is None:
            listed = RunFilter(strategy_id=matching.strategy_id)
            total = (await runs.list_runs(listed, limit=1, offset=0)).total
        with findings.console.progress("replaying stored runs", total=total) as advance:
            async for record in read_all(runs, matching):
                findings.add(replay(record))
                advance(1)

    with_runs(arguments, work)


def _replay_file(stream: Iterable[bytes], findings: _Findings, *, name: str) -> None:
    """Replay the runs of an export, or of several, one after the other.

    Raises:
        CommandFailure: It is none, or was cut; or it holds no run.
    """
    # What is no UTF-8 is for the digests to find.
    lines = (line.decode(errors="replace") for line in stream)
    with findings.console.progress("replaying runs of a file", total=None) as advance:
        try:
            for number, found in read_export(lines):
                if isinstance(found, ValueError):
                    findings.add_damaged_line(number, str(found))
                else:
                    findings.add(replay(found))
                advance(1)
        except NotSealed as problem:
            what = "it was cut" if problem.runs else "it is empty"
            raise CommandFailure(
                f"{name}: refused: {what}, or is no export: its last line does not seal it",
                ExitCode.DAMAGED,
            ) from None
    if not findings.verdicts.total():
        raise CommandFailure(f"{name}: an export without any run", ExitCode.FAILED)


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    """Open a file for reading.

    Raises:
        CommandFailure: It cannot be.
    """
    if path == "-":
        if sys.stdin is None:
            raise CommandFailure("-: there is no standard input", ExitCode.USAGE)
        yield sys.stdin.buffer
        return
    with ExitStack() as stack:
        try:
            stream = stack.enter_context(Path(path).open("rb"))
        except OSError as error:
            raise CommandFailure(describe_os_error(error), ExitCode.USAGE) from None
        yield stream
