"""The policy that the documentation calls the least is enough: nothing is refused, all works."""

from __future__ import annotations

import re
from pathlib import Path

from tests.rig.agent import Start
from tests.rig.bao_client import Bao
from tests.rig.postgres import MakeDatabase
from tests.rig.proxy import Proxy
from tests.rig.scene import Scene, value

DOCUMENT = Path(__file__).parents[2] / "docs" / "policy.md"
RULE = re.compile(r'path "([^"]+)"\s*\{ capabilities = \[([^]]*)\] \}')


def documented() -> dict[str, list[str]]:
    """The example's rules."""
    example = re.findall(r"```hcl\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)[-1]
    return {path: re.findall(r"\w+", words) for path, words in RULE.findall(example)}


async def test_no_request_is_denied_with_the_documented_policy(
    leasehold: Start,
    bao: Bao,
    proxy: Proxy,
    tmp_path: Path,
    memory_directory: Path,
    database: MakeDatabase,
) -> None:
    scene = Scene(bao, proxy, tmp_path, memory_directory, token_ttl="5s")
    made, pki = database(ttl="2s", max_ttl="3s"), bao.pki(generate_lease=True)
    scene.kv.put("app", password=value())
    here = {
        "secret/data/app": scene.kv.api("app"),
        "database/creds/app": made.path,
        "pki/issue/web": f"{pki}/issue/web",
        "sys/leases/revoke": "sys/leases/revoke",
    }
    rules = {here[path]: capabilities for path, capabilities in documented().items()}
    assert len(rules) == len(here)
    bao.set_policy(scene.policy, rules)
    files = {
        "password": "{{ app.password }}",
        "user": "{{ db.username }}",
        "web.pem": {"format": "pem", "secrets": ["web"]},
    }
    web = {"path": f"{pki}/issue/web", "data": {"common_name": "app.example", "ttl": "1h"}}
    agent = await leasehold(
        scene.configuration(
            secrets={"app": scene.secret("app"), "db": {"path": made.path}, "web": web},
            bundles={"app": scene.bundle("app", files)},
        )
    )
    for event in ("ready", "lease_renewed", "token_renewed", "lease_revoked"):
        await agent.event(event)
    assert (await agent.stop()).code == 0
    assert not [seen for seen in proxy.seen if seen.status == 403]
    assert not made.leases() and not scene.tokens()
    assert not [each for each in agent.all("advice") if "policy" in each["text"]]
