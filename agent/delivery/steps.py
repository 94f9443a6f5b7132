"""What the steps of one bundle's transaction do to files and apps; none knows what comes next.

A step that can't be done raises an AgentError. A candidate that is not published is removed.
"""

from __future__ import annotations

from collections.abc import Mapping

from agent.config.model import Bundle as BundleSpec
from agent.config.model import ConfirmApi
from agent.core.clock import Clock
from agent.core.errors import AgentError
from agent.core.events import Advice, Emit
from agent.delivery.announcement import Announcement
from agent.delivery.announcer import Announcer
from agent.delivery.confirm import confirmation
from agent.delivery.generations import Candidate, Claim, Generations, RenderedFile
from agent.delivery.generations.memory import swap_advice
from agent.delivery.generations.ownership import gid_of, uid_of
from agent.delivery.transaction import Shown
from agent.delivery.validate import validate
from agent.delivery.whole import whole


class Steps:
    """One bundle's directory, and those who are told of it."""

    def __init__(self, name: str, spec: BundleSpec, clock: Clock, emit: Emit) -> None:
        """ConfigurationError for a `notify` or `confirm` that can't work."""
        self.announcer = Announcer(spec.notify, clock, emit)
        self.claim = Claim(name, spec.directory)
        self._name, self._spec, self._clock, self._emit = name, spec, clock, emit
        self._confirmation = None if spec.confirm is None else confirmation(spec.confirm, clock)
        self._generations: Generations | None = None
        self._candidate: Candidate | None = None

    @property
    def asks(self) -> bool:
        """The app is to prove that it uses a generation."""
        return self._confirmation is not None

    @property
    def tells(self) -> bool:
        """There is somebody to tell."""
        return bool(self._spec.notify)

    # --- the directory ------------------------------------------------------------------------

    async def prepare(self) -> Generations:
        """The bundle's directory, made or taken over, by an object that remembers its numbers."""
        if self._generations is None:
            self._generations = await whole(self._open)
            if (advice := await whole(swap_advice, self._spec.directory)) is not None:
                self._emit(Advice(subject=self._name, text=advice))
        return self._generations

    def _open(self) -> Generations:
        spec = self._spec
        generations = Generations(
            self._name,
            spec.directory,
            directory_mode=spec.directory_mode,
            uid=uid_of(spec.owner),
            gid=gid_of(spec.group),
            allow_disk=spec.allow_disk,
        )
        self.claim.hold()  # before anything of another agent's is taken for a killed run's
        generations.prepare()
        return generations

    async def shown(self) -> Shown:
        """What is seen, and known to those who are told."""
        generations = await self.prepare()
        current = await whole(generations.current)
        return Shown(current, generations.announced(), self.announcer.has_absent)

    async def proven(self) -> int | None:
        """The generation that could be put back."""
        return None if self._generations is None else await whole(self._generations.proven)

    async def stands(self, number: int) -> bool:
        """Nobody has touched the files, as far as can be seen."""
        if self._generations is None:
            return True
        try:
            return await whole(self._generations.stands, number, self._spec.files)
        except AgentError:  # the next update will say what it is
            return False

    async def remove(self) -> None:
        """Take the files away."""
        if self._generations is not None:
            await whole(self._generations.remove)

    # --- a new generation ---------------------------------------------------------------------

    async def compare(self, files: Mapping[str, RenderedFile]) -> list[str]:
        """What is to be published; the directory is there from now on, and claimed.

        Where nothing is, what somebody has taken from around the files is put back.
        """
        generations = await self.prepare()
        changed = await whole(generations.changes, files)
        await whole(self.claim.hold)
        if not changed and await whole(generations.current) is not None:
            await whole(generations.mend)
        return changed

    async def seen(self) -> Mapping[str, RenderedFile]:
        """The files as they are now."""
        generations = await self.prepare()
        number = await whole(generations.current)
        return ({} if number is None else await whole(generations.read, number)) or {}

    async def validate(self, files: Mapping[str, RenderedFile]) -> None:
        """Write a candidate and have it checked."""
        generations = await self.prepare()
        self._candidate = candidate = await whole(generations.write, files)
        announcement, wall = self._announcement(candidate.number), self._clock.wall()
        await validate(self._spec, files, candidate.directory, announcement, wall)

    async def publish(self, *, is_known: bool) -> int:
        """Have the candidate seen; its number. `is_known`: nobody is to be told."""
        generations, candidate = await self.prepare(), self._candidate
        assert candidate is not None  # noqa: S101  # it was validated
        if is_known:
            await whole(generations.mark_announced, candidate.number)
        await self._prepare_confirmation(candidate.number)
        await whole(generations.publish, candidate)
        self._candidate = None
        return candidate.number

    async def discard(self) -> None:
        """Remove a candidate that was not published."""
        if self._generations is not None and self._candidate is not None:
            await whole(self._generations.discard, self._candidate)
            self._candidate = None

    # --- the app ------------------------------------------------------------------------------

    async def notify(self, number: int) -> bool:
        """Tell those who were not told yet; False if none of them is there."""
        await self._prepare_confirmation(number)
        return await self.announcer.tell(self._announcement(number))

    async def confirm(self, number: int) -> None:
        """Return once the app has proven that it uses the generation; ConfirmError if not."""
        if self._confirmation is not None:
            await self._confirmation.confirm(self._announcement(number))

    def say(self, number: int, error: str | None) -> bool | None:
        """The app's own word on a generation; None if it is not asked for one.

        False: it is about another generation than the one that waits for a word.
        """
        word = self._confirmation
        if not isinstance(self._spec.confirm, ConfirmApi) or word is None:
            return None
        from agent.delivery.confirm.api import AppsWord

        return isinstance(word, AppsWord) and word.say(number, error)

    async def settle(self, number: int) -> None:
        """Put on record that the app uses this generation."""
        await whole((await self.prepare()).mark_announced, number)

    async def restore(self, number: int) -> None:
        """Have a former generation seen again."""
        await self._prepare_confirmation(number)
        await whole((await self.prepare()).restore, number)

    async def _prepare_confirmation(self, number: int) -> None:
        if self._confirmation is not None:
            await self._confirmation.prepare(self._announcement(number))

    def _announcement(self, number: int) -> Announcement:
        return Announcement(self._name, self._spec.directory, number)
