from pathlib import Path
from tests.rig.agent import Start
from tests.rig.bao_auth import approle
from tests.rig.proxy import Proxy
from tests.rig import faults

async def test_x(leasehold: Start, bao, proxy: Proxy, memory_directory: Path, tmp_path: Path):
    kv = bao.kv(); kv.put("app", password="one")
    role = approle(bao, [bao.policy({kv.api("app"): ["read"]})])
    (tmp_path/"r").write_text(role.role_id); (tmp_path/"s").write_text(role.secret_id()); (tmp_path/"s").chmod(0o600)
    agent = await leasehold({
        "stores": {"vault": {"type": "vault", "address": proxy.address, "auth": {"method": "approle", "mount": role.mount, "role_id_file": str(tmp_path/"r"), "secret_id_file": str(tmp_path/"s")}}},
        "secrets": {"a": {"path": kv.cli("app"), "refresh_every": 1}},
        "bundles": {"app": {"directory": str(memory_directory/"x"), "files": {"p": "{{ a.password }}"}}}})
    await agent.event("ready")
    assert (memory_directory/"x"/"p").read_text() == "one"
    kv.put("app", password="two")
    await agent.event("bundle_published", generation=2)
    assert (memory_directory/"x"/"p").read_text() == "two"
    await proxy.refuse()
    await agent.event("store_down")
    await proxy.start()
    await agent.event("store_back")
    done = await agent.stop()
    assert done.code == 0
    print(done.err)
