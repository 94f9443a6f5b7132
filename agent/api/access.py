"""Who may have what: the rules of one listener, compiled once per configuration.

Nothing is allowed but by a rule. A rule applies to a caller who meets all of its conditions, and
what is not known of a caller meets none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

import msgspec

from agent.api.caller import Caller
from agent.api.conditions import Condition, HostIds, Ids, any_of, conditions_of, lacking
from agent.config.listener_model import (
    AnyRule,
    ApiRule,
    CredentialRule,
    PathRule,
    VaultRule,
)

OWN_PATHS = frozenset(("sys", "auth"))
"""The vault's own: no wildcard is meant to open them."""


class Decision(msgspec.Struct, frozen=True):
    """`rule` is the number of the rule that allowed, from 1."""

    is_allowed: bool
    rule: int | None = None


DENIED = Decision(False)


class Rule(msgspec.Struct, frozen=True):
    """One rule, ready to be asked."""

    number: int
    conditions: tuple[Condition, ...]
    secrets: re.Pattern[str]
    credentials: re.Pattern[str]
    paths: tuple[tuple[re.Pattern[str], frozenset[str], bool], ...]
    """(path, capabilities, whether the first step is a wildcard)"""
    bundles: re.Pattern[str]

    def applies(self, caller: Caller) -> bool:
        return all(each.meets(caller) for each in self.conditions)

    def names(self, secret: str) -> bool:
        return self.secrets.fullmatch(secret) is not None

    def names_credential(self, credential: str) -> bool:
        is_named = self.credentials.fullmatch(credential) is not None
        return is_named or self.names(credential.partition(".")[0])

    def names_path(self, path: str, capability: str) -> bool:
        own = OWN_PATHS.intersection(path.split("/"))
        return any(
            capability in capabilities and pattern.fullmatch(path) and not (own and is_open)
            for pattern, capabilities, is_open in self.paths
        )


class Rules:
    """The rules of a listener, in their order; the first that allows is the one that is told."""

    def __init__(self, rules: Sequence[AnyRule], ids: Ids | None = None) -> None:
        """Looks up users and groups: in a thread, unless `ids` does not block."""
        ids = ids or HostIds()
        self._rules = [_compiled(number, each, ids) for number, each in enumerate(rules, 1)]
        self.lacking = [each for rule in rules for each in lacking(rule, ids)]
        """Users and groups that this host does not have, whose rules match nobody."""

    def decide(self, caller: Caller, name: str) -> Decision:
        """Whether the caller may read the secret."""
        return self._first(caller, lambda rule: rule.names(name))

    def decide_credential(self, caller: Caller, credential: str) -> Decision:
        """Whether the caller (its `unit`) may load NAME or NAME.FIELD."""
        return self._first(caller, lambda rule: rule.names_credential(credential))

    def decide_path(self, caller: Caller, path: str, capability: str) -> Decision:
        """Whether the agent's token may be used there for the caller; an odd path is denied.

        `path` is decoded, without leading slash and `v1/`; capability: read, list, create, update,
        delete.
        """
        if not is_plain(path):
            return DENIED
        return self._first(caller, lambda rule: rule.names_path(path, capability))

    def names(self, caller: Caller, names: Iterable[str]) -> list[str]:
        """Those that the caller may read, in their order."""
        applying = [rule for rule in self._rules if rule.applies(caller)]
        return [name for name in names if any(rule.names(name) for rule in applying)]

    def applying(self, caller: Caller) -> frozenset[int]:
        """The numbers of the rules whose conditions the caller meets: callers who are alike."""
        return frozenset(rule.number for rule in self._rules if rule.applies(caller))

    def decide_for(self, applying: frozenset[int], name: str) -> Decision:
        """`decide` for callers to whom these rules apply."""
        for rule in self._rules:
            if rule.number in applying and rule.names(name):
                return Decision(True, rule.number)
        return DENIED

    def decide_bundle(self, applying: frozenset[int], bundle: str) -> Decision:
        """Whether those to whom these rules apply may see and confirm the bundle by its name."""
        for rule in self._rules:
            if rule.number in applying and rule.bundles.fullmatch(bundle):
                return Decision(True, rule.number)
        return DENIED

    def wants_hash(self, caller: Caller) -> bool:
        """Whether the SHA-256 of its program is all that is wanting for some rule."""
        return any(self._misses_only_hash(rule, caller) for rule in self._rules)

    @property
    def knows_hashes(self) -> bool:
        """Whether some rule has a `sha256`."""
        return "sha256" in self._keys()

    @property
    def knows_processes(self) -> bool:
        """Whether some rule wants more of a caller than its user and groups."""
        return not self._keys() <= {"user", "group"}

    def why_not(self, caller: Caller, name: str) -> list[str]:
        """For each rule that names the secret or credential, what keeps the caller from it."""
        return [
            f"rule {rule.number}: {' and '.join(failed)}"
            for rule, failed in zip(self._rules, self.failures(caller), strict=True)
            if failed and rule.names_credential(name)
        ]

    def failures(self, caller: Caller) -> list[list[str]]:
        """For each rule the conditions that the caller does not meet, for people."""
        return [
            [why for each in rule.conditions if (why := each.failure(caller))]
            for rule in self._rules
        ]

    def _keys(self) -> set[str]:
        return {each.key for rule in self._rules for each in rule.conditions}

    def _first(self, caller: Caller, covers: Callable[[Rule], bool]) -> Decision:
        for rule in self._rules:
            if covers(rule) and rule.applies(caller):
                return Decision(True, rule.number)
        return DENIED

    def _misses_only_hash(self, rule: Rule, caller: Caller) -> bool:
        rest = [each for each in rule.conditions if each.key != "sha256"]
        return len(rest) < len(rule.conditions) and all(each.meets(caller) for each in rest)


def is_plain(path: str) -> bool:
    """No step that means something else, or nothing, to a server; LIST may end with a slash."""
    steps = path.removesuffix("/").split("/")
    return path.isprintable() and not {"", ".", ".."}.intersection(steps) and "\\" not in path


# --- compiling ------------------------------------------------------------------------------------


def _compiled(number: int, rule: AnyRule, ids: Ids) -> Rule:
    credentials: tuple[str, ...] = ()
    paths: tuple[PathRule, ...] = ()
    bundles: tuple[str, ...] = ()
    if isinstance(rule, CredentialRule):
        credentials = rule.credentials
    if isinstance(rule, VaultRule):
        paths = rule.paths
    if isinstance(rule, ApiRule):
        bundles = rule.bundles
    return Rule(
        number,
        conditions_of(rule, ids),
        any_of(rule.secrets),
        any_of(credentials),
        tuple(map(_path, paths)),
        any_of(bundles),
    )


def _path(rule: PathRule) -> tuple[re.Pattern[str], frozenset[str], bool]:
    body, is_prefix = rule.path.removesuffix("*"), rule.path.endswith("*")
    steps = ("[^/]+" if each == "+" else re.escape(each) for each in body.split("/"))
    pattern = re.compile("/".join(steps) + (".*" if is_prefix else ""))
    is_open = body.startswith("+") or ("/" not in body and is_prefix)
    return pattern, frozenset(rule.capabilities), is_open
