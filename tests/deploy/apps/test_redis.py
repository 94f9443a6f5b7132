"""docs/apps/redis.md: passwords of users change in steps, and nobody is sent away."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.rig import traffic
from tests.rig.agent import ROOT, Leasehold
from tests.rig.apps import PATIENCE, Host
from tests.rig.needs import needs_program
from tests.rig.redis import USER, App, Connection, Redis, Refused
from tests.rig.served import can_read
from tests.rig.traffic import Traffic
from tests.rig.waiting import eventually

APP, OWN = "app", "leasehold"
USERS = (APP, OWN)
SCRIPT = ROOT / "configs/apps/scripts/redis-acl"
STEPS = NEXT, MOVE, OVER = ("other=-", "password: .other", "{password}'")
"""What tells the page's blocks apart."""

Passwords = dict[str, str]


class Deployed:
    """Redis, and the agent as the page has it."""

    def __init__(self, host: Host) -> None:
        needs_program("jq")
        self.host, self.socket = host, host.memory / "server/redis.sock"
        settings = host.config("ini").replace("/run/redis/redis-server.sock", str(self.socket))
        self.redis = Redis(host.memory / "server", settings)
        self.users = host.memory / "redis/users.acl"
        self.password_file = host.memory / "app/redis-password"

    async def agent(self) -> Leasehold:
        await self.host.follow("new | bao kv put", "bao policy write", "apps/redis.yaml")
        return await self.host.agent(REDIS_SOCKET=self.socket, APP_USER="nobody")

    def app(self) -> App:
        return App(self.redis.port, APP, self.password_file)

    def fields(self, user: str) -> dict[str, str]:
        """The entry as the vault has it."""
        answer = self.host.bao.request("GET", f"secret/data/redis/{user}")
        return dict(answer["data"]["data"])

    def passwords(self, field: str = "password") -> Passwords:
        return {user: self.fields(user)[field] for user in USERS}

    def lets_in(self, passwords: Passwords) -> bool:
        return all(self._lets_in(*each) for each in passwords.items())

    def refuses(self, passwords: Passwords) -> bool:
        return not any(self._lets_in(*each) for each in passwords.items())

    def _lets_in(self, user: str, password: str) -> bool:
        try:
            Connection(self.redis.port, user, password).close()
        except Refused as refused:
            assert str(refused) == "WRONGPASS"
            return False
        return True


@pytest.fixture
def deployed(host: Host) -> Deployed:
    return Deployed(host)


async def rotate(deployed: Deployed, load: Traffic) -> Passwords:
    """The page's three steps, for the app and the agent's own user; what was before."""

    async def step(words: str, is_done: Callable[[], bool]) -> None:
        for user in USERS:
            await deployed.host.follow(words, changed={"redis/app": f"redis/{user}"})
        await deployed.host.refresh()
        await eventually(is_done, within=PATIENCE)
        await load.goes_on("kept", "new")

    before = deployed.passwords()
    await step(NEXT, lambda: deployed.lets_in(deployed.passwords("other")))
    after = deployed.passwords("other")
    await step(MOVE, lambda: deployed.password_file.read_text() == after[APP])
    assert deployed.passwords() == after and deployed.lets_in(before)
    await step(OVER, lambda: deployed.refuses(before))
    assert deployed.passwords() == after and deployed.lets_in(after)
    return before


async def empty_a_field(deployed: Deployed, agent: Leasehold) -> None:
    """Redis and the app keep the password that they have, and nobody gets in without."""
    former, users = deployed.passwords(), deployed.users.read_text()
    emptied = {"data": {"password": "", "other": ""}}
    deployed.host.bao.request("POST", "secret/data/redis/app", emptied)
    await deployed.host.refresh("app")
    for bundle in ("redis", "app"):
        await agent.event("bundle_failed", bundle=bundle, step="validate", within=PATIENCE)
    assert deployed.users.read_text() == users
    assert deployed.password_file.read_text() == former[APP]
    assert deployed.lets_in(former) and deployed.refuses({APP: ""})


async def test_passwords_change_and_no_command_fails(deployed: Deployed) -> None:
    agent = await deployed.agent()
    kept, new = deployed.app(), deployed.app()
    async with deployed.redis.running():
        with closing(kept), traffic.working(kept=kept.kept, new=new.new) as load:
            await load.goes_on("kept", "new")
            former = await rotate(deployed, load)
        now = deployed.passwords()
        assert not agent.all("bundle_failed")
        await empty_a_field(deployed, agent)
    assert not load.failures, load.failures[:10]
    assert kept.connections == 1
    assert can_read(USER, deployed.users) and not can_read("nobody", deployed.users)
    assert not can_read(USER, deployed.users.with_name("agent.txt"))
    assert can_read("nobody", deployed.password_file) and not can_read(USER, deployed.password_file)
    assert (await agent.stop(within=PATIENCE)).code == 0
    said = deployed.users.read_text() + "\n".join([*agent.out, *agent.err])
    passwords = {*former.values(), *now.values()}
    assert len(passwords) == 4 and not any(each in said for each in passwords)


def test_users_that_redis_does_not_take_are_found_out(tmp_path: Path) -> None:
    """The throwaway server of `check` ends where the real one would not start."""
    needs_program("redis-server")

    def takes(text: str) -> bool:
        (tmp_path / "users.acl").write_text(text)
        command = [str(SCRIPT), "check", "-", str(tmp_path)]
        return subprocess.run(command, capture_output=True, timeout=60).returncode == 0

    good = f"user default off\nuser app on #{'0' * 64} ~app:* +@all\n"
    assert takes(good)
    assert not takes(good.replace("+@all", "+@nonsense"))
    assert not takes(good.replace("#", "##"))
    assert not takes(good.replace(f"#{'0' * 64} ", ""))
