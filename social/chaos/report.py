"""A verdict as text: one table, one line of sums, one sentence per finding up to a few of each sort."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from social.chaos.checker import Verdict
from social.chaos.healing import percentile
from social.chaos.ledger import Books, Strike
from social.chaos.schedule import Fault

SORTS = ("hole", "tail", "deaf", "restart", "client", "return", "quiet")
EXAMPLES = 5  # findings of one sort that are told in words


def planned(faults: Sequence[Fault]) -> str:
    """The schedule, one line per fault."""
    return "\n".join(
        f"{fault.at:7.1f} s  {fault.kind.number:<4} {fault.kind.name:<25} {fault.lasts:5.1f} s" for fault in faults
    )


def told(books: Books, verdict: Verdict) -> str:
    """Everything that a reader of the run wants to know."""
    return "\n".join([*_table(books, verdict), "", _sums(books, verdict), "", *_sentences(verdict)])


def _table(books: Books, verdict: Verdict) -> list[str]:
    by_kind: dict[str, list[Strike]] = defaultdict(list)
    for strike in books.strikes:
        by_kind[strike.fault.kind.name].append(strike)
    lines = [f"{'':5}{'fault':<26}{'times':>6}{'delayed':>9}{'p50 s':>8}{'p99 s':>8}{'max s':>8}"]
    for name, strikes in sorted(by_kind.items(), key=lambda item: (len(item[1][0].fault.kind.number), item[0])):
        values = verdict.healing.kinds.get(name, [])
        lines.append(_row(strikes[0].fault.kind.number, name, str(len(strikes)), values))
    sorts = verdict.healing.sorts
    return [*lines, "", *(_row("", sort, "", sorts.get(sort, [])) for sort in SORTS)]


def _row(number: str, name: str, times: str, values: Sequence[float]) -> str:
    figures = [percentile(values, 0.5), percentile(values, 0.99), max(values, default=0.0)]
    texts = "".join(f"{figure:8.2f}" if values else f"{'-':>8}" for figure in figures)
    return f"{number:<5}{name:<26}{times:>6}{len(values):>9}{texts}"


def _sums(books: Books, verdict: Verdict) -> str:
    tally, findings = verdict.tally, verdict.findings
    statuses = ", ".join(f"{count} x {status or 'no answer'}" for status, count in sorted(tally.statuses.items()))
    codes = ", ".join(f"{count} x {code or 'no code'}" for code, count in sorted(tally.codes.items(), key=str))
    return f"""\
writes     {tally.acknowledged} acknowledged, {tally.unanswered} unanswered, {tally.refused} refused; \
{tally.attempts} requests: {statuses}
accepted   {tally.accepted_share:.1%} of {tally.quiet_attempts} requests that met no fault
clients    {len(books.readings)}, {tally.frames} items, {tally.reconnects} reconnects ({codes}); \
streams resumed: {tally.recovered} recovered, {tally.unrecovered} not; {tally.resyncs} resyncs \
(read again at most {tally.resyncs_worst:.1f} times a minute by one client); {tally.behind_at_ping} behind at a ping; \
{tally.repeated_across_epochs} repeated in a new epoch
lost {len(findings.lost)} · duplicated {len(findings.duplicated)} · reordered {len(findings.reordered)} · \
silent gaps {len(findings.silent)} ({findings.silent_seconds:.1f} s) · unexpected {len(findings.unexpected)} · \
out of bounds {len(findings.bounds)}"""


def _sentences(verdict: Verdict) -> list[str]:
    if verdict.passed:
        return ["PASSED"]
    lines = ["FAILED"]
    for sort in ("lost", "duplicated", "reordered", "silent", "unexpected", "bounds"):
        sentences = getattr(verdict.findings, sort)
        lines += [f"  {sort}: {sentence}" for sentence in sentences[:EXAMPLES]]
        if len(sentences) > EXAMPLES:
            lines.append(f"  {sort}: and {len(sentences) - EXAMPLES} more")
    lines += [f"  longest {sort}: {what}" for sort, what in sorted(verdict.healing.worst.items())]
    return lines
