"""The verdict on a trial: what was counted, and what is wrong."""

from collections import Counter
from collections.abc import Iterable, Sequence

from attrs import frozen

from tests.chaos.check_answers import check_answers
from tests.chaos.check_brakes import (
    RELEASES,
    check_doubt,
    check_drained,
    doubtful_times,
    drained_times,
)
from tests.chaos.check_orders import (
    check_nothing_lost,
    check_one_order,
    check_runs_end,
    check_steps,
    left_to_operators,
    words_behind,
)
from tests.chaos.evidence import Evidence, Finding, Promise
from tests.chaos.journal import Deed, Mark
from tests.chaos.ledger import Event

CHECKS = (
    check_one_order,
    check_nothing_lost,
    check_runs_end,
    check_steps,
    check_drained,
    check_doubt,
    check_answers,
)
SHOWN = 40
SHOWN_BEHIND = 5


@frozen
class Verdict:
    """What a trial showed.

    Attributes:
        lines: Counts, one a line.
        findings: Breaches of promises; none is a pass.
        notes: What is no breach and should be looked at.
    """

    lines: Sequence[str]
    findings: Sequence[Finding]
    notes: Sequence[str] = ()

    def report(self) -> str:
        """Return it as text."""
        found = [f"FOUND {finding}" for finding in self.findings[:SHOWN]]
        if len(self.findings) > SHOWN:
            found.append(f"... and {len(self.findings) - SHOWN} more")
        noted = [f"NOTE {note}" for note in self.notes[:SHOWN]]
        end = "PASSED" if not self.findings else f"FAILED: {len(self.findings)} findings"
        return "\n".join([*self.lines, *noted, *found, end])


def judge_trial(evidence: Evidence, notes: Sequence[str] = ()) -> Verdict:
    """Compare ledger, database and answers."""
    findings = [finding for check in CHECKS for finding in check(evidence)]
    behind = words_behind(evidence)
    unheard = [f"{len(behind)} last words not heard of: {behind[:SHOWN_BEHIND]}"] if behind else []
    waiting = [f"waits for an operator: {text}" for text in left_to_operators(evidence)]
    return Verdict(_counts(evidence, findings), findings, [*notes, *waiting, *unheard])


def _counts(evidence: Evidence, findings: Sequence[Finding]) -> list[str]:
    asked = [seen for seen in evidence.journal.answers if seen.decision is not None]
    looked = [seen for seen in evidence.journal.answers if seen.decision is None]
    events = Counter(str(entry.event) for entry in evidence.entries)
    tricks = Counter(entry.detail for entry in evidence.entries if entry.event != Event.SIGNALLED)
    statuses = Counter(str(run.status) for run in evidence.books.runs)
    states = Counter(row.state for row in evidence.books.orders)
    arrived = events.pop("arrived", 0)
    breaches = Counter(finding.promise for finding in findings)
    decisions = f"{len(asked)} for {len(evidence.journal.decisions)} decisions"
    quiet = f"{len(drained_times(evidence))} drained, {len(doubtful_times(evidence))} doubtful"
    return [
        f"runs asked: {decisions}, answered {_shown(str(seen.status) for seen in asked)}",
        f"refusals: {_shown(seen.error for seen in asked if seen.error is not None)}",
        f"runs looked at: {len(looked)}, answered {_shown(str(seen.status) for seen in looked)}",
        f"runs stored: {len(evidence.books.runs)}, {dict(statuses.most_common())}",
        f"orders stored: {len(evidence.books.orders)}, {dict(states.most_common())}",
        f"orders sent (POSTs): {arrived}, {dict(events.most_common())}",
        f"tricks: { {name: count for name, count in tricks.most_common() if name} }",
        f"orders held: {len(evidence.held)}",
        f"done to it: {dict(evidence.journal.counts().most_common())}",
        f"engagements answered: {_shown(map(_barrier, evidence.journal.of(Deed.ENGAGE)))}",
        f"releases answered: {_shown(str(mark.status) for mark in evidence.journal.of(*RELEASES))}",
        f"quiet times watched: {quiet}",
        *(f"{promise}: {breaches[promise]} breaches" for promise in Promise),
    ]


def _shown(words: Iterable[str]) -> dict[str, int]:
    return dict(Counter(words).most_common())


def _barrier(engage: Mark) -> str:
    """Say what an engagement was answered."""
    body = engage.body if isinstance(engage.body, dict) else {}
    if "drained" not in body:
        return str(engage.status)
    return f"{engage.status} {'drained' if body['drained'] else 'not drained'}"
