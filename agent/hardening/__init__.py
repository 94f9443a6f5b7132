"""What a command does against the misuse of itself: of its memory, its rights, its writes.

kernel        calls that Python has no words for
memory        no core dump, no reader, no swap
privileges    nothing that is started gains rights
landlock      the kernel's rule for writes
needs         what a configuration writes to, starts and looks at
confinement   the two together: writes confined to what is configured
host          what the host does for it or against it
protection    what is in force and what is not, as values

No secret is read here, and nothing above the configuration is known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.core.errors import ConfigurationError
from agent.hardening.memory import locked, undumpable, without_core_dumps
from agent.hardening.protection import Protection

if TYPE_CHECKING:
    from agent.config.model import Configuration
    from agent.config.model import Hardening as Wishes
    from agent.hardening.confinement import Confinement

__all__ = ["Hardened", "Protection", "harden", "harden_memory"]

OTHER_WISHES = "hardening: can't be changed while the agent runs; start it again"


class Hardened:
    """A process that has been hardened, and what became of each part."""

    def __init__(
        self,
        protections: list[Protection],
        confinement: Confinement | None = None,
        wishes: Wishes | None = None,
        *,
        is_parent: bool = False,
    ) -> None:
        self.protections = protections
        self._confinement, self._wishes, self._is_parent = confinement, wishes, is_parent

    @property
    def warnings(self) -> list[str]:
        return [each.reason for each in self.protections if each.is_warning]

    def problems(self, configuration: Configuration) -> list[str]:
        """Why this process can't move to another configuration; a line each."""
        if self._confinement is None:
            return []
        if configuration.hardening != self._wishes:
            return [OTHER_WISHES]
        return self._confinement.problems(configuration, is_parent=self._is_parent)


def harden_memory() -> Hardened:
    """What needs no configuration, for a command that holds a secret for a moment."""
    return Hardened([without_core_dumps(), undumpable(), locked("auto")])


def harden(
    configuration: Configuration, *, is_parent: bool = False, is_judging: bool = False
) -> Hardened:
    """All of it, as configured; to be called while the process has one thread.

    ConfigurationError if something is `on` and can't be had, unless `is_judging`. `is_parent`: it
    will start an app.
    """
    from agent.hardening.confinement import Confinement
    from agent.hardening.needs import commands
    from agent.hardening.privileges import without_new_privileges

    wishes, confinement = configuration.hardening, Confinement()
    started = commands(configuration, is_parent=is_parent)
    always = [without_core_dumps(), undumpable()]
    wished = {
        "memory_lock": locked(wishes.memory_lock),
        "no_new_privileges": without_new_privileges(wishes.no_new_privileges, started),
        "landlock": confinement.begin(configuration, is_parent=is_parent),
    }
    missing = [
        f"hardening.{key}: is on, and can't be had: {each.reason}"
        for key, each in wished.items()
        if not each.is_in_force and getattr(wishes, key) == "on"
    ]
    if missing and not is_judging:
        raise ConfigurationError(missing)
    return Hardened([*always, *wished.values()], confinement, wishes, is_parent=is_parent)
