"""A page of docs/apps about a program of Debian's: its blocks, taken to where a test may write.

`follow` runs blocks of commands as they stand, but for the folders; `config` has a block of
the program's own configuration.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from tests.rig.agent import Leasehold, Start
from tests.rig.walkthrough import SH, Walkthrough, walkthrough

AGENT_UID = 61002
POWERS = "+chown,+fowner,+dac_override,+kill"
AS_THE_UNIT_HAS_IT = (
    *("setpriv", f"--reuid={AGENT_UID}", f"--regid={AGENT_UID}", "--clear-groups"),
    *(
        f"--bounding-set=-all,{POWERS}",
        f"--inh-caps=-all,{POWERS}",
        f"--ambient-caps=-all,{POWERS}",
    ),
)
"""A user of its own with the powers of root's that deploy/systemd/leasehold.service leaves it."""

PATIENCE = 60.0
"""Seconds for anything that needs a process or two on a machine that is busy."""


class Host:
    """Where the page is followed. `memory` stands for /run/leasehold."""

    def __init__(self, walk: Walkthrough, start: Start) -> None:
        self.walk, self.memory, self._start = walk, walk.memory, start
        self.bao = walk.server.bao
        self._places = {
            "/etc/leasehold": walk.folder / "etc",
            "/usr/local/lib/leasehold": walk.folder / "lib",
            "/run/leasehold": walk.memory,
        }
        walk.environment["CREDENTIALS_DIRECTORY"] = str(walk.folder / "etc/credentials")
        walk.environment["SCRIPTS"] = str(walk.folder / "lib")
        walk.configuration = walk.folder / "etc/leasehold.yaml"

    async def follow(
        self, *containing: str, changed: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """Run blocks of commands, each the one that contains a text."""
        for words in containing:
            text = next(each for each in SH.findall(self.walk.text) if words in each)
            places = {here: str(there) for here, there in self._places.items() if here in text}
            await self.walk.sh(words, {**places, **changed})

    def config(self, language: str) -> str:
        """The page's block of this language, with the test's folders."""
        found = re.search(rf"^```{language}\n(.*?)^```$", self.walk.text, re.DOTALL | re.MULTILINE)
        assert found is not None, f"the page has no block of {language}"
        return found[1].replace("/run/leasehold", str(self.memory))

    async def with_authority(self, file: str) -> Path:
        """The page's first two parts: an authority, an account, an agent with configs/apps/FILE.

        The authority's certificate.
        """
        await self.follow("bao secrets enable", "bao policy write", "pki/cert/ca", f"apps/{file}")
        return self.walk.folder / "etc/ca.pem"

    async def agent(self, **environment: object) -> Leasehold:
        """With the installed configuration, and where the test's program is; ready."""
        self.walk.environment |= {key: str(value) for key, value in environment.items()}
        os.chown(self.memory, AGENT_UID, AGENT_UID)
        agent = await self._start.command(
            *("agent", "-c", self.walk.configuration),
            environment=self.walk.environment,
            within=AS_THE_UNIT_HAS_IT,
        )
        await agent.event("ready", within=PATIENCE)
        return agent

    async def refresh(self, *names: str) -> None:
        await self.walk.refresh(self._start, *names)


@contextmanager
def host(page: str, memory: Path, start: Start) -> Iterator[Host]:
    """With a vault of the page's own, that nobody has an account at yet."""
    with walkthrough(page, memory) as walk:
        yield Host(walk, start)
