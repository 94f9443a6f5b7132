"""`leasehold import`: another agent's configuration as ours."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from agent.core.errors import EXIT_FAILED, EXIT_USAGE, AgentError, ConfigurationError

if TYPE_CHECKING:
    from agent.migrating.blocks import Read
    from agent.migrating.draft import Draft

LARGEST = 4 * 1024 * 1024
KINDS = ("vault-agent", "consul-template", "vault-k8s")


class NotImported(AgentError):
    """The source can't be read, or the result can't be written."""

    exit_code = EXIT_USAGE


@click.command("import")
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="A file or a folder; standard output when absent.",
)
@click.option(
    "--trial",
    "into",
    type=click.Path(path_type=PurePosixPath),
    metavar="DIRECTORY",
    help="Files below this directory, and nothing else: to be compared with the other agent's.",
)
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@click.pass_context
def command(
    context: click.Context,
    kind: str,
    source: Path,
    output: Path | None,
    into: PurePosixPath | None,
    force: bool,
) -> None:
    """Turn another agent's configuration into ours.

    vault-agent: HCL or JSON of Vault Agent or OpenBao Agent. consul-template: the same of
    consul-template. vault-k8s: manifests with annotations of the injector. What is another way
    with us is said, and what is left to be done by hand; then the exit code is 1. No credential is
    copied.

    \b
    Example: leasehold import vault-agent agent.hcl -o leasehold.yaml
             leasehold import vault-k8s deployment.yaml -o imported/
    """
    if into is not None and not into.is_absolute():
        raise click.UsageError("--trial takes an absolute path")
    drafts = _drafts(kind, source, into)
    if into is not None:
        for _, draft in drafts:
            draft.make_trial()
    texts = {name: draft.text() for name, draft in drafts}
    _write(texts, output, force=force)
    for name, draft in drafts:
        _check(texts[name], draft)
    findings = list(dict.fromkeys(each for _, draft in drafts for each in draft.findings.all))
    for finding in findings:
        click.echo(str(finding), err=True)
    left = sum(each.by_hand for each in findings)
    if left:
        click.echo(f"leasehold: {left} left to be done by hand", err=True)
        context.exit(EXIT_FAILED)


def _drafts(kind: str, source: Path, into: PurePosixPath | None) -> list[tuple[str, Draft]]:
    """By the names of their files, without a suffix."""
    from agent.migrating.findings import Findings, Unreadable

    text = _read(source)
    try:
        if kind == "vault-k8s":
            return _of_manifests(text, source, into)
        make = _maker(kind)
        return [("leasehold", make(text, Findings(str(source)), reader(source), into=into))]
    except Unreadable as error:
        where = f"{source}:{error.line}" if error.line else str(source)
        raise NotImported(f"{where}: {error.reason}") from None


def _maker(kind: str) -> Callable[..., Draft]:
    if kind == "consul-template":
        from agent.migrating.consul_template import import_consul_template

        return import_consul_template
    from agent.migrating.vault_agent import import_vault_agent

    return import_vault_agent


def _of_manifests(text: str, source: Path, into: PurePosixPath | None) -> list[tuple[str, Draft]]:
    from agent.migrating.findings import Findings
    from agent.migrating.manifests import workloads
    from agent.migrating.vault_k8s import import_workload

    drafts: list[tuple[str, Draft]] = []
    for workload in workloads(text):
        findings = Findings(str(source))
        draft = import_workload(workload, findings, reader(source), into=into)
        drafts.append((_file_name(workload.name, [name for name, _ in drafts]), draft))
    if not drafts:
        raise NotImported(f"{source}: no pod in it has an injector's annotations")
    return drafts


def _file_name(name: str, taken: list[str]) -> str:
    plain = "".join(each if each.isalnum() or each in "-_" else "-" for each in name)
    number, found = 2, plain
    while found in taken:
        number, found = number + 1, f"{plain}-{number}"
    return found


def reader(source: Path) -> Read:
    """Template files: as they are named, or beside the configuration."""

    def read(name: str) -> str | None:
        for path in (Path(name), source.parent / name, source.parent / Path(name).name):
            try:
                return _read(path)
            except NotImported:
                continue
        return None

    return read


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise NotImported(f"{path}: can't be read: {error.strerror}") from None
    except ValueError:  # a NUL in the name
        raise NotImported("a file's name has a NUL in it") from None
    if len(data) > LARGEST:
        raise NotImported(f"{path}: is larger than {LARGEST} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise NotImported(f"{path}: is no UTF-8") from None


class _Anything(dict[str, str]):
    """An environment in which each variable that was not set may be anything."""

    def __contains__(self, _: object) -> bool:
        return True


def _check(text: str, draft: Draft) -> None:
    """What our own loader does not take of the result is left to be done by hand, too."""
    from agent.config.load import load
    from agent.rendering.templates import check_template

    with TemporaryDirectory(prefix="leasehold-") as folder:
        path = Path(folder) / "leasehold.yaml"
        path.write_text(text)
        try:
            load([path], environment=_Anything(os.environ), check_template=check_template)
        except ConfigurationError as error:
            for problem in error.problems:
                place, _, why = problem.removeprefix(f"{path}:").partition(": ")
                draft.findings.by_hand(0, f"the result, line {place}", why)


def _write(texts: dict[str, str], output: Path | None, *, force: bool) -> None:
    if output is None or str(output) == "-":
        if len(texts) > 1:
            raise click.UsageError(f"there are {len(texts)} workloads: name a folder with -o")
        click.echo("".join(texts.values()), nl=False)
        return
    is_folder = output.is_dir() or len(texts) > 1 or not output.suffix
    for name, text in texts.items():
        _write_file(output / f"{name}.yaml" if is_folder else output, text, force=force)


def _write_file(path: Path, text: str, *, force: bool) -> None:
    """Whole or not at all, and never over a file that is there, unless that is wanted."""
    candidate = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with candidate.open("x") as file:  # never through somebody's link
            file.write(text)
        try:
            if force:
                candidate.replace(path)
            else:
                path.hardlink_to(candidate)
        finally:
            candidate.unlink(missing_ok=True)
    except FileExistsError:
        raise NotImported(f"{path} is there already; --force replaces it") from None
    except OSError as error:
        raise NotImported(f"{path}: can't be written: {error.strerror}") from None
