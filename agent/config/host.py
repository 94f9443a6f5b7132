"""What the configuration expects of the host: users, groups, files.

The text may be judged elsewhere than where it will be used, so what isn't there is a warning; on
the host itself (`is_here`) it is a problem.
"""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Callable
from functools import cache
from pathlib import Path

from agent.config import kinds
from agent.config.walk import Observers, Site


class Host:
    """Looks things up once for each name."""

    def __init__(self, *, is_here: bool) -> None:
        self._is_here = is_here
        self._has_user = cache(_finder(pwd.getpwnam))
        self._has_group = cache(_finder(grp.getgrnam))
        self._has_file = cache(is_readable_file)

    def observers(self) -> Observers:
        return {kinds.USER: self.user, kinds.GROUP: self.group, kinds.FILE: self.file}

    def user(self, name: str, site: Site) -> None:
        if not self._has_user(name):
            self.lacks(f"user {site.node.shown}", site)

    def group(self, name: str, site: Site) -> None:
        if not self._has_group(name):
            self.lacks(f"group {site.node.shown}", site)

    def file(self, path: Path, site: Site) -> None:
        if not self._has_file(path):
            self.lacks(f"readable file {site.node.shown}", site)

    def lacks(self, what: str, site: Site) -> None:
        text = f"there is no {what} on this host"
        (site.problem if self._is_here else site.warning)(text)


def is_readable_file(path: Path) -> bool:
    # os.path, not Path: that raises where a folder on the way may not be searched.
    return os.path.isfile(path) and os.access(path, os.R_OK)  # noqa: PTH113


def _finder(look_up: Callable[[str], object]) -> Callable[[str], bool]:
    """Numbers need no entry: containers have none."""

    def has(name: str) -> bool:
        if name.isascii() and name.isdecimal():
            return True
        try:
            look_up(name)
        except (KeyError, ValueError):
            return False
        return True

    return has
