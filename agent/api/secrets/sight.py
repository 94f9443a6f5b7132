"""Who may read what. Callers to whom the same rules apply see the same, so it is worked out once.

A name that there is not and one that may not be read are equally not in sight: the same look into
the same table finds neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from agent.api.access import DENIED, Decision, Rules
from agent.api.caller import Caller
from agent.api.http import Answer

MOST_CALLERS = 4096
"""Remembered; then all are looked at anew."""


class Sight:
    """`secrets`: the names that may be read, in their order, each with the rule that lets."""

    __slots__ = ("_applying", "_rules", "listing", "secrets")

    def __init__(self, rules: Rules, applying: frozenset[int], names: Iterable[str]) -> None:
        self._rules, self._applying = rules, applying
        found = ((name, rules.decide_for(applying, name)) for name in sorted(names))
        self.secrets: Mapping[str, Decision] = {
            name: decision for name, decision in found if decision.is_allowed
        }
        self.listing: tuple[int, Answer] | None = None
        """The list as it was answered, and after how many changes."""

    def secret(self, name: str | None) -> Decision:
        """Whether it may be read; None is no name."""
        return DENIED if name is None else self.secrets.get(name, DENIED)

    def bundle(self, name: str, secrets: Iterable[str]) -> Decision:
        """Whether it may be seen and confirmed: by its name, or by the right to all its secrets."""
        decision = self._rules.decide_bundle(self._applying, name)
        decisions = [self.secret(each) for each in secrets]
        if decision.is_allowed or not decisions:
            return decision
        return decisions[0] if all(each.is_allowed for each in decisions) else DENIED


class Sights:
    """What each caller sees, while rules and names are the same."""

    def __init__(self, rules: Rules, names: Iterable[str]) -> None:
        self._rules, self._names = rules, tuple(names)
        self._by_rules: dict[frozenset[int], Sight] = {}
        self._by_caller: dict[Caller, Sight] = {}

    def of(self, caller: Caller) -> Sight:
        sight = self._by_caller.get(caller)
        if sight is None:
            if len(self._by_caller) >= MOST_CALLERS:
                self._by_caller.clear()
            sight = self._by_caller[caller] = self._worked_out(caller)
        return sight

    def _worked_out(self, caller: Caller) -> Sight:
        applying = self._rules.applying(caller)
        if applying not in self._by_rules:
            self._by_rules[applying] = Sight(self._rules, applying, self._names)
        return self._by_rules[applying]
