"""`load`: files in, a `Configuration` out, or one report of everything that is wrong with it.

Nothing is fetched; the host's files are only looked at. Blocks: call it in a thread.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from agent.config import kinds
from agent.config.environment import expand, names_in
from agent.config.host import Host
from agent.config.listener_rules import ListenerRules
from agent.config.model import Configuration
from agent.config.references import References, TemplateCheck, Templates, TemplateSecrets
from agent.config.report import Report
from agent.config.rules import Rules
from agent.config.source import read_sources
from agent.config.walk import Site, Walk
from agent.core.errors import ConfigurationError

__all__ = ["Loaded", "TemplateCheck", "TemplateSecrets", "load"]


class Loaded(msgspec.Struct, frozen=True):
    """A sound configuration.

    `files`: every file and folder that was read, to be watched. `credential_variables`: the
    environment variables that hold the agent's own credentials, which are nobody else's.
    """

    configuration: Configuration
    warnings: list[str]
    files: tuple[Path, ...]
    credential_variables: frozenset[str] = frozenset()


def load(
    paths: Sequence[Path],
    *,
    environment: Mapping[str, str] | None = None,
    check_template: TemplateCheck | None = None,
    template_secrets: TemplateSecrets | None = None,
    on_this_host: bool = False,
) -> Loaded:
    """Read, merge and check; a `ConfigurationError` has every problem, one line each.

    `environment` is the process's own if None. Users, groups and files that aren't there are
    warnings, `on_this_host` problems.
    """
    environment = os.environ if environment is None else environment
    report = Report()
    source = read_sources(paths, report)
    if not source.is_whole:
        raise ConfigurationError(report.problems)
    expand(source.tree, environment, report)
    host = Host(is_here=on_this_host)
    references = References(source.tree, host, Templates(check_template, template_secrets))
    credentials: set[str] = set()

    def note_credential(_: str, site: Site) -> None:
        credentials.update(names_in(site.node.written))

    observers = {
        **host.observers(),
        **references.observers(),
        kinds.CREDENTIAL: note_credential,
    }
    checks = {**Rules(references, environment).checks(), **ListenerRules(references).checks()}
    walk = Walk(report, observers, checks)
    configuration = walk.section(Configuration, source.tree)
    references.finish(report)
    if report.problems or not isinstance(configuration, Configuration):
        raise ConfigurationError(report.problems)
    return Loaded(configuration, report.warnings, tuple(source.files), frozenset(credentials))
