"""Nothing is allowed but by a rule, and a rule means all that it says."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from agent.api.access import DENIED, Decision, Rules, is_plain
from agent.api.caller import ON_TCP, Caller
from agent.cli import leasehold
from agent.config.listener_model import (
    AnyRule,
    Capability,
    CredentialRule,
    PathRule,
    SecretsRule,
    VaultRule,
)

ID = "0123456789abcdef" * 4
UID = "11111111-2222-3333-4444-555555555555"
WHOLE = Caller(
    uid=1000,
    gid=1001,
    groups=frozenset({7, 8}),
    pid=42,
    executable="/usr/bin/app",
    sha256="ab" * 32,
    unit="app.service",
    container=ID,
    pod_uid=UID,
)
CONDITIONS: dict[str, Any] = {
    "user": "1000",
    "group": "7",
    "unit": "app.service",
    "executable": Path("/usr/bin/app"),
    "sha256": "ab" * 32,
    "container": ID[:12],
    "pod_uid": UID,
}
FACTS = {"user": "uid", "group": "groups"}


class Ids:
    """Names of a host that is not this one."""

    numbers = {"app": 1000, "root": 0}

    def user(self, name: str) -> int | None:
        return int(name) if name.isdecimal() else self.numbers.get(name)

    group = user


def rules(*each: AnyRule) -> Rules:
    return Rules(each, Ids())


def rule(secrets: str = "*", **conditions: Any) -> SecretsRule:
    return SecretsRule(secrets=(secrets,), **conditions)


def test_without_rules_nobody_may_anything() -> None:
    assert rules().decide(WHOLE, "database") == DENIED
    assert rules().names(WHOLE, ["database"]) == []


def test_the_first_rule_that_allows_is_told() -> None:
    some = rules(rule("web"), rule("data*", user="root"), rule("data*"), rule("database"))
    assert some.decide(WHOLE, "database") == Decision(True, 3)
    assert some.decide(WHOLE, "other") == DENIED
    assert some.names(WHOLE, ["a", "database", "web"]) == ["database", "web"]


@pytest.mark.parametrize("key", CONDITIONS)
def test_each_condition_must_hold_and_be_known(key: str) -> None:
    one = rules(rule(**{key: CONDITIONS[key]}))
    assert one.decide(WHOLE, "x").is_allowed
    empty = Caller(uid=None)
    assert not one.decide(empty, "x").is_allowed
    assert one.failures(empty) == [[f"{key} is unknown"]]
    other = replace(
        WHOLE, uid=5, gid=5, groups=frozenset(), executable="/x", sha256="0", unit="x.service",
        container="f" * 64, pod_uid="x",
    )  # fmt: skip
    assert not one.decide(other, "x").is_allowed
    assert one.failures(other) == [[f"{key} is not {CONDITIONS[key]}"]]


@given(st.sets(st.sampled_from(sorted(CONDITIONS))), st.sets(st.sampled_from(sorted(CONDITIONS))))
def test_all_named_conditions_must_hold(named: set[str], known: set[str]) -> None:
    one = rules(rule(**{key: CONDITIONS[key] for key in named}))
    caller = Caller(**{FACTS.get(key, key): getattr(WHOLE, FACTS.get(key, key)) for key in known})
    assert one.decide(caller, "x").is_allowed is (named <= known)
    assert {each.partition(" ")[0] for each in one.failures(caller)[0]} == named - known


def test_on_tcp_only_a_rule_without_conditions_matches() -> None:
    assert rules(rule()).decide(ON_TCP, "x").is_allowed
    for key, wanted in CONDITIONS.items():
        assert not rules(rule(**{key: wanted})).decide(ON_TCP, "x").is_allowed


def test_a_group_is_the_first_one_or_a_further_one() -> None:
    for gid in ("1001", "7", "8"):
        assert rules(rule(group=gid)).decide(WHOLE, "x").is_allowed
    assert not rules(rule(group="9")).decide(WHOLE, "x").is_allowed


def test_root_is_a_user_like_any_other() -> None:
    for name in ("root", "0"):
        assert rules(rule(user=name)).decide(Caller(uid=0), "x").is_allowed
        assert not rules(rule(user=name)).decide(Caller(uid=1), "x").is_allowed
    assert Rules([rule(user="0")]).decide(Caller(uid=0), "x").is_allowed


def test_a_user_that_the_host_does_not_have_is_nobody() -> None:
    some = rules(rule(user="ghost"), rule(group="ghosts"))
    assert not some.decide(WHOLE, "x").is_allowed
    assert some.lacking == ["user ghost", "group ghosts"]


def test_a_unit_may_be_a_pattern_and_a_container_a_beginning() -> None:
    one = rules(rule(unit="app@*.service"))
    assert one.decide(Caller(unit="app@one.service"), "x").is_allowed
    assert not one.decide(Caller(unit="app.service"), "x").is_allowed
    assert not rules(rule(container="f" * 12)).decide(WHOLE, "x").is_allowed


NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,8}", fullmatch=True)
GLOBS = st.from_regex(r"([ab*?-]|\[!?[ab]+\]){1,6}", fullmatch=True)


@given(GLOBS, NAMES | st.from_regex("[ab-]{1,6}", fullmatch=True))
def test_patterns_are_those_of_file_names(glob: str, name: str) -> None:
    assert rules(rule(glob)).decide(WHOLE, name).is_allowed is fnmatchcase(name, glob)


@given(NAMES, NAMES)
def test_a_name_without_wildcards_is_that_name_alone(name: str, other: str) -> None:
    assert rules(rule(name)).decide(WHOLE, other).is_allowed is (name == other)


def test_a_hash_is_wanted_only_if_all_else_holds() -> None:
    one = rules(rule(user="app", sha256="0" * 64))
    assert one.knows_hashes and not rules(rule(user="app")).knows_hashes
    assert one.wants_hash(WHOLE) and not one.wants_hash(Caller(uid=5))
    assert not one.wants_hash(ON_TCP)


# --- paths of a vault -------------------------------------------------------------------------


def path_rule(path: str, *capabilities: Capability) -> VaultRule:
    return VaultRule(paths=(PathRule(path=path, capabilities=capabilities or ("read",)),))


@pytest.mark.parametrize(
    ("pattern", "path", "is_allowed"),
    [
        ("kv/data/app", "kv/data/app", True),
        ("kv/data/app", "kv/data/app2", False),
        ("kv/data/app", "kv/data/App", False),
        ("kv/data/*", "kv/data/a/b", True),
        ("kv/data/*", "kv/metadata/a", False),
        ("kv/+/app", "kv/data/app", True),
        ("kv/+/app", "kv/a/b/app", False),
        ("kv/metadata/*", "kv/metadata/app/", True),
        ("kv.data/app", "kvXdata/app", False),
        ("*", "kv/data/app", True),
        ("*", "sys/mounts", False),
        ("s*", "sys/mounts", False),
        ("*", "team/auth/token/create", False),
        ("+/mounts", "sys/mounts", False),
        ("+/*", "sys/mounts", False),
        ("+/data/*", "kv/data/auth", False),
        ("kv/data/*", "kv/data/auth", True),
        ("sys/*", "sys/mounts", True),
        ("sys/mounts", "sys/mounts", True),
        ("auth/token/*", "auth/token/create", True),
    ],
)
def test_paths_are_as_in_a_policy_and_wildcards_open_nothing_of_the_vaults_own(
    pattern: str, path: str, is_allowed: bool
) -> None:
    found = rules(path_rule(pattern)).decide_path(WHOLE, path, "read")
    assert found == (Decision(True, 1) if is_allowed else DENIED)


def test_a_capability_must_be_named() -> None:
    some = rules(path_rule("kv/*", "read", "list"), path_rule("kv/a", "update"))
    assert some.decide_path(WHOLE, "kv/a", "list") == Decision(True, 1)
    assert some.decide_path(WHOLE, "kv/a", "update") == Decision(True, 2)
    assert some.decide_path(WHOLE, "kv/b", "update") == DENIED


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/kv/a",
        "kv//a",
        "kv/../sys/a",
        "kv/./a",
        "..",
        "kv/a/..",
        "kv\\..\\a",
        "kv/\n",
        "a\0",
    ],
)
def test_an_odd_path_is_denied_whatever_the_rules_say(path: str) -> None:
    assert not is_plain(path)
    assert rules(path_rule("*")).decide_path(WHOLE, path, "read") == DENIED


@given(st.text(st.sampled_from("sysauthkv/.+*"), max_size=12))
def test_no_wildcard_at_the_beginning_reaches_sys_or_auth(path: str) -> None:
    some = rules(path_rule("*"), path_rule("+/*"), path_rule("s*"), path_rule("a*"))
    if {"sys", "auth"} & set(path.split("/")):
        assert some.decide_path(WHOLE, path, "read") == DENIED


def test_secrets_of_a_rule_open_no_paths_and_paths_no_secrets() -> None:
    both = rules(VaultRule(secrets=("database",)), path_rule("database"))
    assert both.decide_path(WHOLE, "database", "read") == Decision(True, 2)
    assert both.decide(WHOLE, "database") == Decision(True, 1)


# --- credentials ------------------------------------------------------------------------------


def test_a_credential_is_a_secret_or_one_of_its_fields() -> None:
    some = rules(
        CredentialRule(unit="web.service", secrets=("web",)),
        CredentialRule(unit="app@*.service", credentials=("database.password", "api*")),
    )
    web, app = Caller(uid=0, unit="web.service"), Caller(uid=0, unit="app@1.service")
    assert some.decide_credential(web, "web") == Decision(True, 1)
    assert some.decide_credential(web, "web.certificate") == Decision(True, 1)
    assert some.decide_credential(web, "database.password") == DENIED
    assert some.decide_credential(app, "database.password") == Decision(True, 2)
    assert some.decide_credential(app, "database") == DENIED
    assert some.decide_credential(app, "api-key") == Decision(True, 2)
    assert some.decide_credential(Caller(uid=0), "web") == DENIED


def test_the_documentation_s_example_loads_and_says_what_it_shows(tmp_path: Path) -> None:
    document = (Path(__file__).parents[3] / "docs" / "access.md").read_text(encoding="utf-8")
    file = tmp_path / "leasehold.yaml"
    file.write_text(re.findall(r"```yaml\n(.*?)```", document, re.DOTALL)[0])
    (shown,) = re.findall(r"```\n(\$ .*?)```", document, re.DOTALL)
    for command, output in re.findall(r"\$ leasehold (.*)\n((?:[^$…\n].*\n)+)", shown):
        arguments = command.replace("leasehold.yaml", str(file)).split()
        ran = CliRunner().invoke(leasehold, arguments)
        assert ran.exit_code == 0 and ran.output.startswith(output)
