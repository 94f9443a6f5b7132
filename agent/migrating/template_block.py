"""Templates with destinations become bundles: files that change together, in one directory."""

from __future__ import annotations

from pathlib import PurePosixPath

import msgspec

from agent.migrating.draft import Draft, Leftover, duration, name_of
from agent.migrating.jinja_writer import Translated, translate

MEMORY = (PurePosixPath("/run"), PurePosixPath("/var/run"), PurePosixPath("/dev/shm"))  # noqa: S108
OURS = PurePosixPath("/run/leasehold")
SHELL = ("/bin/sh", "-c")
LONGEST_DEBOUNCE = 60.0
READABLE = 0o644
"""Their default; ours is 0440."""


class Template(msgspec.Struct, frozen=True):
    """One template block, as far as we take it. `line` is its own, `text_line` its text's first."""

    subject: str
    line: int
    text: str
    destination: str
    text_line: int = 0
    left: str = "{{"
    right: str = "}}"
    mode: int = READABLE
    owner: str | None = None
    group: str | None = None
    command: tuple[str, ...] = ()
    timeout: float | None = None
    debounce: float | None = None


def translated(draft: Draft, template: Template, title: str) -> str | None:
    """The template in Jinja; None where something is left to be done, which is said."""
    result = translate(
        template.text, draft.book, place=title, left=template.left, right=template.right
    )
    for remark in result.remarks:
        draft.findings.note(template.line, template.subject, remark)
    _say_problems(draft, template, result)
    if not result.problems:
        return result.text
    draft.leftovers.append(Leftover(f"{title}, not translated:", template.text))
    return None


def _say_problems(draft: Draft, template: Template, result: Translated) -> None:
    for problem in result.problems:
        line = template.text_line + problem.line - 1 if template.text_line else template.line
        where = f"{template.subject}, line {problem.line} of the template"
        draft.findings.by_hand(line, where, problem.text)


class Bundles:
    """The bundles of one import, by directory. `memory`: more directories that are in memory."""

    def __init__(
        self, draft: Draft, into: PurePosixPath | None = None, *, memory: tuple[str, ...] = ()
    ) -> None:
        self._draft, self._into = draft, into
        self._memory = (*MEMORY, *map(PurePosixPath, memory))
        self._names: dict[PurePosixPath, str] = {}
        self._moved: dict[PurePosixPath, PurePosixPath] = {}
        self._shared = frozenset((*MEMORY, PurePosixPath("/")))

    def add_all(self, templates: list[Template]) -> None:
        """Their files, and what is done when they change; outer directories first."""
        for template in sorted(templates, key=lambda each: each.destination.count("/")):
            self._add(template)

    def _add(self, template: Template) -> None:
        path = PurePosixPath(template.destination)
        if not path.is_absolute() or ".." in path.parts or not path.name or "\0" in str(path):
            why = f"{template.destination!r} is no absolute path of a file"
            self._draft.findings.by_hand(template.line, template.subject, why)
            return
        text = translated(self._draft, template, template.destination)
        if text is None:
            return
        directory = self._directory(template, path)
        name, inside = self._bundle(directory)
        file = str(inside / path.name)
        if path.name.startswith("..") or file in self._files(name):
            why = f"{template.destination} can't be a file of the bundle, or is one already"
            self._draft.findings.by_hand(template.line, template.subject, why)
            return
        self._put_file(name, file, template, text)
        self._put_command(name, template)

    def _directory(self, template: Template, path: PurePosixPath) -> PurePosixPath:
        """Where it was, if that is in memory and a directory of its own."""
        was = path.parent
        is_memory = any(was.is_relative_to(each) for each in self._memory)
        if self._into is None and is_memory and was not in self._shared:
            return was
        directory = self._moved_to(was)
        if self._into is not None:
            return directory
        why = "secrets are in memory only" if not is_memory else "it has a directory of its own"
        advice = f"{path} is {directory / path.name} now ({why}); when you switch over:"
        link = f"{advice} ln -sfn {directory / path.name} {path}"
        self._draft.findings.by_hand(template.line, f"{template.subject}.destination", link)
        return directory

    def _moved_to(self, was: PurePosixPath) -> PurePosixPath:
        """Two directories of one last name stay two."""
        if was not in self._moved:
            steps, count = was.parts[1:] or ("root",), 1
            while (name := name_of("-".join(steps[-count:]))) in {
                each.name for each in self._moved.values()
            } and count < len(steps):
                count += 1
            self._moved[was] = (self._into or OURS) / name
        return self._moved[was]

    def _bundle(self, directory: PurePosixPath) -> tuple[str, PurePosixPath]:
        """Its bundle's name, and the path inside of that: no bundle is inside of another."""
        for known, name in self._names.items():
            if directory.is_relative_to(known):
                return name, directory.relative_to(known)
        taken = set(self._names.values())
        wanted = name = name_of(directory.name)
        number = 2
        while name in taken:
            name, number = f"{wanted}-{number}", number + 1
        self._names[directory] = name
        self._draft.put(("bundles", name, "directory"), str(directory))
        self._draft.put(("bundles", name, "directory_mode"), "0755", "as it was; tighten it")
        return name, PurePosixPath()

    def _files(self, name: str) -> dict[str, object]:
        found: dict[str, object] = self._draft.tree["bundles"][name].setdefault("files", {})
        return found

    def _put_file(self, name: str, file: str, template: Template, text: str) -> None:
        entry: dict[str, object] = {"content": text, "mode": f"{template.mode:04o}"}
        entry |= {"owner": template.owner} if template.owner else {}
        entry |= {"group": template.group} if template.group else {}
        self._files(name)[file] = entry
        origin = f"{self._draft.origin(template.line)}: {template.destination}"
        self._draft.comments["bundles", name, "files", file] = origin
        if template.debounce is not None:
            wait = duration(min(template.debounce, LONGEST_DEBOUNCE))
            self._draft.put(("bundles", name, "debounce"), wait)

    def _put_command(self, name: str, template: Template) -> None:
        if not template.command:
            return
        bundle = self._draft.tree["bundles"][name]
        step: dict[str, object] = {"command": list(template.command)}
        step |= {"timeout": duration(template.timeout)} if template.timeout else {}
        steps = bundle.setdefault("notify", [])
        if step not in steps:
            steps.append(step)
        bundle["notify_first"] = True
        if len(steps) == 2:
            why = f"all commands of bundle {name} are run when one of its files has changed"
            self._draft.findings.note(template.line, f"{template.subject}.command", why)


def argv(words: tuple[str, ...]) -> tuple[str, ...]:
    """One text with blanks was a shell's; a list was not."""
    if len(words) == 1 and len(words[0].split()) > 1:
        return (*SHELL, words[0])
    return tuple(each.strip() for each in words) if len(words) == 1 else words
