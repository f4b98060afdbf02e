"""Each protection, broken once: the simulation must see it.

A mutant is a change of the sources' text. `hunt` copies the sources, changes them, and lets a fresh
process go through schedules until a promise is broken.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from attrs import field, frozen

from orchestrator_adapters.simulation.faults import FaultKind
from tests.simulation.hunts import FOUND, NOTHING_FOUND

SRC = Path(__file__).parents[2] / "src"
CORE = "orchestrator_core"
MEMORY = "orchestrator_adapters/memory"
HUNT_SECONDS = 300.0


@frozen
class Change:
    """A text that stands exactly once in a file, and what takes its place."""

    file: str
    old: str
    new: str


@frozen
class Mutant:
    """A protection, broken.

    Attributes:
        breaks: What no longer holds.
        scenario: Whose schedules find it.
        changes: Of the sources.
        first: The fault that its pairs begin with; a hunt through all pairs takes minutes.
    """

    name: str
    breaks: str
    scenario: str
    changes: tuple[Change, ...] = field(repr=False)
    first: FaultKind | None = None


MUTANTS = (
    Mutant(
        "plan_after_sending",
        "no order leaves before its plan and its SENDING row are committed",
        "one run",
        (
            Change(
                f"{CORE}/waves.py",
                "        commit = await self.holder.commit_plan(record, claim)\n",
                "        await self._ports.sink.submit(self._pending, deadline=deadline)\n"
                "        commit = await self.holder.commit_plan(record, claim)\n",
            ),
        ),
    ),
    Mutant(
        "quantity_in_id",
        "one order a decision and symbol, whatever the prices did meanwhile",
        "asked again",
        (
            Change(
                f"{CORE}/planning.py",
                "client_order_id=decision.client_order_id(symbol, leg=leg),",
                "client_order_id=decision.client_order_id(symbol, leg=shares),",
            ),
        ),
    ),
    Mutant(
        "book_not_checked",
        "two plans never spend the same difference",
        "two rebalances at once",
        (
            Change(
                f"{MEMORY}/runs.py",
                "if self._books.version != record.book_version:",
                "if False:",
            ),
        ),
    ),
    Mutant(
        "open_orders_uncounted",
        "what is on order already is not ordered again",
        "rebalanced",
        (
            Change(
                f"{CORE}/differences.py",
                "    now = held + on_order\n",
                "    now = held\n",
            ),
        ),
    ),
    Mutant(
        "unsettled_ignored",
        "nothing is decided on a symbol of which an order's fate is not known",
        "rebalanced",
        (
            Change(
                f"{CORE}/holdings.py",
                "        return self._unsettled.get(symbol)\n",
                "        return None\n",
            ),
        ),
    ),
    Mutant(
        "timeout_is_rejection",
        "an order whose answer was lost is UNKNOWN",
        "one run",
        (
            Change(
                f"{CORE}/outcomes.py",
                "SubmitKind.UNKNOWN: OrderState.UNKNOWN,",
                "SubmitKind.UNKNOWN: OrderState.REJECTED,",
            ),
        ),
    ),
    Mutant(
        "switch_asked_once",
        "the kill switch is asked before every wave",
        "one run",
        (
            Change(
                f"{CORE}/waves.py",
                "        if self._has_more:\n            if self.holder.latch is None:\n",
                "        if self._has_more and self.holder.claims == 0:\n"
                "            if self.holder.latch is None:\n",
            ),
        ),
    ),
    Mutant(
        "no_latch",
        "a claim needs the latch disengaged at the epoch that the run read",
        "one run",
        (
            Change(
                f"{MEMORY}/runs.py",
                "if latch is None or latch.engaged or latch.epoch != claim.latch_epoch:",
                "if latch is None:",
            ),
        ),
    ),
    Mutant(
        "latch_without_lock",
        "the latch stands still from the look at it until the claim's commit",
        "one run",
        (
            Change(
                f"{MEMORY}/runs.py",
                "        stored = self._require_lease(lease)\n"
                "        if claim is None or not stored.has_made(claim):\n",
                "        stored = self._require_lease(lease)\n"
                "        self._looked_at = self._latch\n"
                "        if self._clock.loop.current is not None:\n"
                "            await self._clock.sleep(0.0)\n"
                "        if claim is None or not stored.has_made(claim):\n",
            ),
            Change(
                f"{MEMORY}/runs.py",
                "            latch = self._latch\n            if latch is None or",
                "            latch = getattr(self, '_looked_at', self._latch)\n"
                "            if latch is None or",
            ),
        ),
    ),
    Mutant(
        "sending_taken_over_as_it_is",
        "an order that was being sent when its run was taken over is UNKNOWN",
        "one run",
        (
            Change(
                f"{MEMORY}/runs.py",
                "            if order.state is OrderState.SENDING:\n",
                "            if order.state is OrderState.UNKNOWN:\n",
            ),
        ),
    ),
    Mutant(
        "disengaged_by_clock",
        "a disengagement counts by its epoch, never by a time of day",
        "engaged",
        (
            Change(
                f"{CORE}/kill_switch.py",
                "        and shared.latch_epoch == latch.epoch\n"
                "        and shared.disengaged_by is not None\n",
                "        and (shared.disengaged_at or '') > f'{latch.changed_at:%Y-%m-%dT%H:%M}'\n",
            ),
            Change(
                f"{CORE}/kill_switch.py",
                "    if shared.latch_epoch != latch.epoch:\n",
                "    if shared.disengaged_at is None:\n",
            ),
        ),
    ),
    Mutant(
        "claim_without_lease_epoch",
        "a writer whose lease epoch is old changes nothing",
        "one run",
        (
            Change(
                f"{MEMORY}/runs.py",
                "if stored is None or stored.lease_epoch != lease.epoch:",
                "if stored is None:",
            ),
        ),
        first=FaultKind.STALL,
    ),
    Mutant(
        "absent_is_proof",
        "an order that the gateway does not have yet may still be on its way there",
        "one run",
        (
            Change(
                f"{CORE}/outcomes.py",
                "        case LookUpKind.REJECTED:\n            return OrderState.REJECTED\n",
                "        case LookUpKind.REJECTED:\n            return OrderState.REJECTED\n"
                "        case LookUpKind.ABSENT:\n            return OrderState.NOT_PLACED\n",
            ),
            Change(
                f"{CORE}/lifecycle.py",
                "_S.UNKNOWN: frozenset({_S.ACCEPTED, ",
                "_S.UNKNOWN: frozenset({_S.NOT_PLACED, _S.ACCEPTED, ",
            ),
        ),
    ),
    Mutant(
        "recovery_mints_ids",
        "a second try has the id of the first",
        "one run",
        (
            Change(
                f"{CORE}/recovery.py",
                "    pending = _in_order_of_sending(holder.book, planned)\n",
                "    pending = _in_order_of_sending(holder.book, planned)\n"
                "    new = lambda i: evolve(i, client_order_id=f'{i.client_order_id}x')\n"
                "    again = [new(intent) for intent in resendable]\n"
                "    await ports.sink.submit(again, deadline=float('inf'))\n",
            ),
        ),
    ),
    Mutant(
        "retry_refusal_believed",
        "a refusal of a second try says nothing of the first",
        "one run",
        (
            Change(
                f"{CORE}/outcomes.py",
                "    if outcome.kind in SAID_BY_RETRY:\n",
                "    if outcome.kind is not SubmitKind.DEFERRED:\n",
            ),
        ),
        first=FaultKind.LATE,
    ),
    Mutant(
        "recovery_unguarded",
        "recovery sends nothing that the kill switch does not let go",
        "one run",
        (
            Change(
                f"{CORE}/recovery.py",
                "        holder.latch = await guard(ports)\n",
                "        holder.latch = await ports.runs.read_latch()\n",
            ),
            Change(
                f"{CORE}/waves.py",
                "            if isinstance(verdict, Halted):\n",
                "            if isinstance(verdict, Halted) and self._book.run.num_signals < 0:\n",
            ),
        ),
    ),
    Mutant(
        "refused_and_sent",
        "whoever was told that no order was sent finds it so",
        "one run",
        (
            Change(
                f"{CORE}/workflow.py",
                "        if holder.plan_may_stand and not is_recorded:\n",
                "        if holder.has_claimed and not is_recorded:\n",
            ),
        ),
        first=FaultKind.ANSWER_LOST,
    ),
    Mutant(
        "unnumbered_deferral",
        "a late twin of a commit puts back no order that is on the wire",
        "paced",
        (
            Change(
                f"{CORE}/holding.py",
                "        return None if self.latch is None else self.number_claim(())\n",
                "        return None\n",
            ),
        ),
        first=FaultKind.ECHO,
    ),
    Mutant(
        "no_deadline_to_an_operator",
        "what stays in doubt is left to an operator in time",
        "one run",
        (
            Change(
                f"{CORE}/outcomes.py",
                "order.state is OrderState.UNKNOWN and age_seconds >= unresolved_after_seconds",
                "order.state is OrderState.UNKNOWN and age_seconds < 0.0",
            ),
        ),
        first=FaultKind.FLUSH,
    ),
)


@frozen
class Catch:
    """What a hunt brought.

    Attributes:
        story: The schedule that broke a promise, and how; empty where none did.
        is_caught: A promise was broken.
    """

    is_caught: bool
    story: str


def hunt(mutant: Mutant, folder: Path) -> Catch:
    """Go through schedules with the mutant's sources until a promise is broken.

    Raises:
        ValueError: A text to be changed does not stand exactly once in its file.
        RuntimeError: The hunt itself failed.
    """
    src = folder / "src"
    for package in (CORE, "orchestrator_adapters"):
        shutil.copytree(SRC / package, src / package, ignore=shutil.ignore_patterns("__pycache__"))
    for change in mutant.changes:
        path = src / change.file
        text = path.read_text()
        if text.count(change.old) != 1:
            raise ValueError(f"{change.file}: expected once, found {text.count(change.old)} times")
        path.write_text(text.replace(change.old, change.new))
    ended = subprocess.run(
        [sys.executable, "-m", "tests.simulation.hunts", mutant.scenario, mutant.first or ""],
        env=_environment(src),
        cwd=SRC.parent,
        capture_output=True,
        text=True,
        timeout=HUNT_SECONDS,
        check=False,
    )
    if ended.returncode not in {NOTHING_FOUND, FOUND}:
        raise RuntimeError(ended.stderr[-2000:])
    return Catch(ended.returncode == FOUND, ended.stdout.strip())


def _environment(src: Path) -> Mapping[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": f"{src}:{SRC.parent}", "PYTHONHASHSEED": "0"}
