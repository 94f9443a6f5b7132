"""What the README and docs/ point at is there, and what they tell to type is understood."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from agent.cli import leasehold

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
OF_REPOSITORY = re.compile(r"(?<![\w/.$}-])((?:configs|deploy|docs)/[\w@./-]*[\w/])")
OF_KUBECTL = re.compile(r"deploy/[\w-]+$")
"""`kubectl logs deploy/app`: a Deployment, and no file."""

TYPED = re.compile(r"^ *(?:[$#] )?(?:\w+=\S+ )*(leasehold [a-z-].*)$", re.MULTILINE)
AFTER_THE_COMMAND = {"&&", "||", "|", ";", "&", ">", ">>", "<", "2>"}


def by_name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def slugs(page: Path) -> set[str]:
    """The anchors of its headings, as GitHub makes them."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    words = (re.sub(r"[^\w\- ]", "", each.lower()) for each in HEADING.findall(text))
    return {each.strip().replace(" ", "-") for each in words}


def leads_somewhere(page: Path, link: str) -> bool:
    place, _, anchor = link.partition("#")
    target = (page.parent / place).resolve() if place else page
    return target.exists() and (not anchor or anchor in slugs(target))


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_links_lead_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    links = [link for link in LINK.findall(text) if ":" not in link]
    assert [link for link in links if not leads_somewhere(page, link)] == []


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_files_that_are_named_are_there(page: Path) -> None:
    named = OF_REPOSITORY.findall(page.read_text(encoding="utf-8"))
    wanted = [each.partition("/NAME")[0] for each in named if not OF_KUBECTL.match(each)]
    assert [each for each in wanted if not (ROOT / each).exists()] == []


def typed(page: Path) -> Iterator[list[str]]:
    """The arguments of each `leasehold …` in a fenced block, up to what is the shell's."""
    for language, block in FENCE.findall(page.read_text(encoding="utf-8")):
        if language not in ("", "sh", "console", "bash"):
            continue
        for line in TYPED.findall(block.replace("\\\n", " ")):
            lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
            lexer.wordchars += "@:…,{}$%[]"
            words = list(lexer)
            end = next((at for at, each in enumerate(words) if each in AFTER_THE_COMMAND), None)
            yield words[1:end]


def misunderstood(words: list[str]) -> str | None:
    """What click has against a command line, but that a file of the reader's is not here."""
    command: click.Command | None = leasehold
    name, rest = "leasehold", list(words)
    while isinstance(command, click.Group) and rest:
        name = rest.pop(0)
        command = command.get_command(click.Context(command), name)
    if command is None:
        return f"no command {name}"
    try:
        command.make_context(name, rest)
    except click.exceptions.Exit:
        return None
    except click.UsageError as error:
        return None if "does not exist" in error.message else error.message
    return None


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_commands_are_understood(page: Path) -> None:
    found = {shlex.join(words): misunderstood(words) for words in typed(page)}
    assert {line: why for line, why in found.items() if why} == {}


def test_what_is_wrong_would_be_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A page\n[x](gone.md) [y](#a-page) [z](#b) `configs/gone.yaml`\n"
        "```sh\nA=b leasehold check --lively -c x.yaml | cat\nleasehold chek\n```\n"
    )
    wrong = [link for link in ("gone.md", "#a-page", "#b") if not leads_somewhere(page, link)]
    assert wrong == ["gone.md", "#b"]
    assert OF_REPOSITORY.findall(page.read_text()) == ["configs/gone.yaml"]
    lines = list(typed(page))
    assert lines == [["check", "--lively", "-c", "x.yaml"], ["chek"]]
    assert all(misunderstood(words) for words in lines)
