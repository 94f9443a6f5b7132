"""Whether the records are as they were written: none changed, removed, put in, exchanged, cut off.

A record that does not follow from the one before is told apart by its number: the next in turn was
changed, a later one has a hole before it, an earlier one is out of order or there twice. Then the
check goes on from whatever the next one follows, so that one mischief is one finding. Blocks.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable

import msgspec

from agent.audit.chain import Keys, Parsed, parse
from agent.audit.tail import Head

MOST_FINDINGS = 50
_MOST_VALUES = 4


class Verdict(msgspec.Struct):
    """`problems` prove that something was done; `remarks` are worth knowing.

    `first_at` and `last_at` are RFC 3339, as recorded; None without a record.
    """

    records: int = 0
    first_seq: int = 0
    last_seq: int = 0
    first_at: str | None = None
    last_at: str | None = None
    problems: list[str] = []
    remarks: list[str] = []

    @property
    def is_good(self) -> bool:
        return not self.problems


class _Torn(msgspec.Struct, frozen=True):
    """A line that is no record; a head may tell of it."""

    where: str
    size: int
    has_end: bool


class Verifier:
    """Takes the files' lines, the oldest first, and `finish`es with the verdict.

    `first_seq` is the first record that should be there; None: that is not known.
    """

    def __init__(self, keys: Keys, *, first_seq: int | None) -> None:
        self._keys, self._first_seq = keys, first_seq
        self._verdict = Verdict()
        self._values: list[bytes] = []
        self._last = 0
        self._proven = 0
        self._missing: list[tuple[int, int, str]] = []
        self._torn: _Torn | None = None
        self._findings = 0

    def file(self, name: str, lines: Iterable[bytes]) -> None:
        """The lines of one file, with their ends."""
        for number, line in enumerate(lines, 1):
            where = f"{name}:{number}"
            content, has_end = line.removesuffix(b"\n"), line.endswith(b"\n")
            try:
                parsed = parse(content if has_end else b"")
            except ValueError:
                self._settle_torn(0)
                self._torn = _Torn(where, len(content), has_end)
            else:
                self._record(where, parsed)

    def finish(self, head: Head | None, *, why_no_head: str | None = None) -> Verdict:
        """The verdict; `why_no_head` is a problem where there should be a head."""
        verdict = self._verdict
        verdict.last_seq = self._last
        if self._torn is not None and not self._torn.has_end:
            verdict.remarks.append(f"{self._torn.where}: the last line is not finished")
            self._torn = None
        self._settle_torn(0)
        for first, last, where in self._missing:
            self._problem(f"{_records(first, last)} missing before {where}")
        if why_no_head is not None:
            self._problem(why_no_head)
        if head is not None:
            self._compare(head)
        if verdict.records and not self._proven:
            verdict.problems = ["no record is proven: the key is not theirs, or all were changed"]
        elif self._findings > MOST_FINDINGS:
            verdict.problems.append(f"and {self._findings - MOST_FINDINGS} more")
        return verdict

    # --- one record ---------------------------------------------------------------------------

    def _record(self, where: str, parsed: Parsed) -> None:
        verdict = self._verdict
        if verdict.records == 0:
            verdict.first_seq, verdict.first_at = parsed.seq, _at(parsed)
            self._last = min(parsed.seq, self._first_seq or parsed.seq) - 1
        verdict.records += 1
        verdict.last_at = _at(parsed)
        is_head = self._is_head(where, parsed)
        if not is_head:
            self._settle_torn(0)
            self._judge(where, parsed, self._follows(parsed))

    def _follows(self, parsed: Parsed) -> bool:
        """Whether it follows one of those that it may; then it alone is followed."""
        for before in reversed(self._values):
            if hmac.compare_digest(self._keys.value(before, parsed.body), parsed.chain):
                self._proven += 1
                self._values = [parsed.chain] if parsed.seq == self._last + 1 else self._values
                return True
        return False

    def _judge(self, where: str, parsed: Parsed, is_proven: bool) -> None:
        seq = parsed.seq
        if is_proven and seq == self._last + 1:
            self._last = seq
            return
        if seq <= self._last:
            self._out_of_turn(where, seq)
        elif seq > self._last + 1:
            self._missing.append((self._last + 1, seq - 1, where))
            self._last = seq
        else:
            self._problem(f"{where}: record {seq} was changed, or does not follow the one before")
            self._last = seq
        may_be = [self._keys.value(each, parsed.body) for each in self._values[-1:]]
        self._values = [*self._values, *may_be, parsed.chain][-_MOST_VALUES:]

    def _is_head(self, where: str, parsed: Parsed) -> bool:
        """Whether it is a head, proven by itself: it tells what it follows."""
        follows = parsed.follows()
        if follows is None or not hmac.compare_digest(
            self._keys.value(follows.chain, parsed.body), parsed.chain
        ):
            return False
        self._proven += 1
        self._settle_torn(parsed.fields.get("torn_bytes", 0), where)
        if parsed.seq <= self._last:
            self._out_of_turn(where, parsed.seq)
            self._values = [*self._values, parsed.chain][-_MOST_VALUES:]
            return True
        if follows.seq > self._last:
            self._missing.append((self._last + 1, follows.seq, where))
        elif self._values and follows.chain not in self._values:
            self._problem(f"{where}: record {follows.seq} is not the one that was written then")
        self._last, self._values = parsed.seq, [parsed.chain]
        self._remark(where, parsed)
        return True

    def _remark(self, where: str, parsed: Parsed) -> None:
        """What the agent itself found when it began."""
        if parsed.fields.get("head_lost"):
            text = "FILE.head was missing or changed when the agent started"
            self._problem(f"{where}: {text}: records before may have been cut off")
        if parsed.fields.get("reason") == "cut":
            self._problem(f"{where}: the file was cut while the agent wrote to it")
        if parsed.fields.get("after_crash"):
            self._verdict.remarks.append(
                f"{where}: the agent started after the machine went down: what is missing before "
                "may never have reached the disk"
            )

    def _out_of_turn(self, where: str, seq: int) -> None:
        for index, (first, last, found) in enumerate(self._missing):
            if first <= seq <= last:
                rest = [(first, seq - 1, found), (seq + 1, last, found)]
                self._missing[index : index + 1] = [each for each in rest if each[0] <= each[1]]
                self._problem(f"{where}: record {seq} is out of order")
                return
        self._problem(f"{where}: record {seq} is there a second time, or was put in")

    # --- lines that are no records, and the end -----------------------------------------------

    def _settle_torn(self, told: object, where: str = "") -> None:
        """A head tells of a line that was torn; what no head tells of was done by somebody."""
        torn, self._torn = self._torn, None
        if torn is not None and told and told == torn.size:
            self._verdict.remarks.append(f"{torn.where}: a line that was torn by a crash")
        elif torn is not None:
            self._problem(f"{torn.where}: is no record")
        elif told:
            self._problem(f"{where}: the torn line before it is missing")

    def _compare(self, head: Head) -> None:
        if head.seq > self._last:
            self._problem(f"{_records(self._last + 1, head.seq)} missing: cut off at the end")
        elif head.seq == self._last and head.link.chain not in self._values and head.seq:
            self._problem(f"the last record, {head.seq}, is not the one that was written")

    def _problem(self, text: str) -> None:
        self._findings += 1
        if self._findings <= MOST_FINDINGS:
            self._verdict.problems.append(text)


def _at(parsed: Parsed) -> str | None:
    at = parsed.fields.get("at")
    return at if isinstance(at, str) else None


def _records(first: int, last: int) -> str:
    return f"record {first} is" if first == last else f"records {first} to {last} are"
