"""What an app sees of a bundle: `..data`, which names a generation, and a link for each name in it.

    DIRECTORY/..data → ..gen-000042        DIRECTORY/password → ..data/password

One rename of `..data` changes all files. New names appear right after it and can be read at once;
names that are gone go after it. Whatever has room to fail is done before the rename.
Errors are OSErrors; a name that is somebody else's is a FileExistsError.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Container, Iterable
from contextlib import suppress

from agent.delivery.generations.tree import names_in, opened, remove

DATA = "..data"
NEW_DATA = "..data.new"
NEW_LINK = "..link-"
NUMBER = re.compile(r"\.\.gen-(\d{6,15})")


def generation_name(number: int) -> str:
    """`..gen-000042`."""
    return f"..gen-{number:06d}"


def number_of(name: str) -> int | None:
    """The number of a generation's directory; None if the name is of something else."""
    match = NUMBER.fullmatch(name)
    if match is None or generation_name(int(match[1])) != name:
        return None
    return int(match[1])


def claimed(root: int) -> set[int]:
    """The numbers that names in the directory bear, whatever is behind them."""
    return {number for name in names_in(root) if (number := number_of(name)) is not None}


def generations(root: int, trusted: Container[int]) -> set[int]:
    """The numbers of real directories that a trusted user made."""
    return {number for number in claimed(root) if _is_ours(root, number, trusted)}


def _is_ours(root: int, number: int, trusted: Container[int]) -> bool:
    status = os.stat(generation_name(number), dir_fd=root, follow_symlinks=False)
    return stat.S_ISDIR(status.st_mode) and status.st_uid in trusted


def current(root: int, trusted: Container[int]) -> int | None:
    """The generation that `..data` points to, if it is there."""
    number = number_of(target_of(root, DATA) or "")
    return number if number in generations(root, trusted) else None


def previous(root: int, trusted: Container[int]) -> int | None:
    """The latest below the current one."""
    seen = current(root, trusted)
    if seen is None:
        return None
    return max((each for each in generations(root, trusted) if each < seen), default=None)


def target_of(root: int, name: str) -> str | None:
    """Where a link points; None if there is nothing, or no link."""
    try:
        return os.readlink(name, dir_fd=root)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EINVAL):
            return None
        raise


def own_links(root: int) -> set[str]:
    """The names in the directory that are links of ours."""
    return {
        name
        for name in names_in(root)
        if not name.startswith("..") and target_of(root, name) == f"{DATA}/{name}"
    }


def tops(files: Iterable[str]) -> set[str]:
    """The names that these files, or the folders they are in, have in the directory."""
    return {name.split("/")[0] for name in files}


def missing(root: int, number: int) -> set[str]:
    """The names of a generation that have no link."""
    with opened(generation_name(number), root) as folder:
        return set(names_in(folder)) - own_links(root)


def refuse_names(names: Iterable[str]) -> None:
    """OSError for the first that is no relative path of a file, or is one of our own names."""
    for name in names:
        if {"", ".", ".."} & set(name.split("/")) or "\0" in name or name.startswith(".."):
            raise OSError(errno.EINVAL, "can't be the name of a file of a bundle", repr(name))


def refuse_foreign(root: int, names: Iterable[str]) -> None:
    """FileExistsError for the first of `names` (or `..data`) that somebody else has put there."""
    for name in (DATA, *sorted(set(names) - own_links(root))):
        try:
            os.stat(name, dir_fd=root, follow_symlinks=False)
        except FileNotFoundError:
            continue
        if name != DATA or number_of(target_of(root, DATA) or "") is None:
            reason = "is there already, and not one of ours; move it away"
            raise FileExistsError(errno.EEXIST, reason, name)


def switch(root: int, number: int) -> None:
    """Make a generation the one that is seen. When this fails, the one before still is."""
    before = target_of(root, DATA)
    with opened(generation_name(number), root) as folder:
        wanted = set(names_in(folder))
    refuse_foreign(root, wanted)
    links = own_links(root)
    placed = {f"{NEW_LINK}{index}": name for index, name in enumerate(sorted(wanted - links))}
    try:
        for temporary, name in placed.items():
            _link(root, f"{DATA}/{name}", temporary)
        _point(root, before, generation_name(number))
        for temporary, name in placed.items():
            os.rename(temporary, name, src_dir_fd=root, dst_dir_fd=root)
    except OSError:
        _take_back(root, before)
        raise
    unlink(root, links - wanted)


def unlink(root: int, names: Iterable[str]) -> None:
    """Remove links. One that resists points nowhere, and the next switch tries again."""
    for name in names:
        with suppress(OSError):
            os.unlink(name, dir_fd=root)


def sweep(root: int) -> None:
    """Remove what a run that was killed had half done."""
    for name in names_in(root):
        if name == NEW_DATA or name.startswith(NEW_LINK):
            remove(root, name)


def clear(root: int) -> None:
    """Remove all that is of this layout."""
    unlink(root, own_links(root))
    if number_of(target_of(root, DATA) or "") is not None:
        os.unlink(DATA, dir_fd=root)
    for number in claimed(root):
        remove(root, generation_name(number))
    sweep(root)


def _link(root: int, target: str, name: str) -> None:
    remove(root, name)
    os.symlink(target, name, dir_fd=root)


def _point(root: int, before: str | None, target: str) -> None:
    if before != target:  # a rename that changes nothing would still wake whoever watches
        _link(root, target, NEW_DATA)
        os.rename(NEW_DATA, DATA, src_dir_fd=root, dst_dir_fd=root)


def _take_back(root: int, before: str | None) -> None:
    """Best effort: the error that led here is the one to tell."""
    with suppress(OSError):
        if before is None:
            remove(root, DATA)
        else:
            _point(root, target_of(root, DATA), before)
    with suppress(OSError):
        unlink(root, own_links(root) - _current_names(root))
        sweep(root)


def seen(root: int) -> set[str]:
    """The names that lead to something in the current generation."""
    return own_links(root) & _current_names(root)


def _current_names(root: int) -> set[str]:
    number = number_of(target_of(root, DATA) or "")
    if number is None:
        return set()
    with opened(generation_name(number), root) as folder:
        return set(names_in(folder))
