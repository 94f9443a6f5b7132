"""`leasehold import`, beside the agent whose files it reads: both render the same."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.rig.agent import Done, Start
from tests.rig.bao_agent import bao_agent
from tests.rig.postgres import MakeDatabase
from tests.rig.scene import MARK, Scene

pytestmark = pytest.mark.timeout(300)

SOURCES = Path(__file__).parents[1] / "unit/migrating"
ENVIRONMENT = {"STAGE": "stage", "NAME": "app"}
FIELDS = {
    "user": "alice",
    "password": f"{MARK} p@ss/w+rd&é%",
    "my-key": "dash",
    "nested": {"b": "2", "a": "1"},
    "hosts": ["a", "b", "c"],
    "nothing": [],
    "csv": "x, y,z",
    "flag": True,
    "empty": "",
    "port": 5432,
    "encoded": "aGVsbG8=",
    "json": '{"inner": "in"}',
    "lines": "one\n\ntwo",
}
_PEM = re.compile(r"-----BEGIN ([A-Z ]+)-----\n(?:[A-Za-z0-9+/=]+\n)+-----END \1-----")


def prepared(source: str, folder: Path, words: Mapping[str, str]) -> Path:
    """A file of another agent, with what this run has for its @WORDS@."""
    text = (SOURCES / source).read_text()
    for word, value in words.items():
        text = text.replace(f"@{word}@", value)
    path = folder / source
    path.write_text(text)
    return path


async def imported(leasehold: Start, source: Path, into: Path) -> Done:
    """The import, into a file that `once` takes."""
    arguments = ("import", "vault-agent", source, "-o", leasehold.file, "--trial", into)
    return await (await leasehold.command(*arguments)).wait()


def rendered(folder: Path) -> dict[str, bytes]:
    """Every file below, by its path, as an app sees it."""
    paths = [each for each in folder.rglob("*") if ".." not in str(each.relative_to(folder))]
    return {str(each.relative_to(folder)): each.read_bytes() for each in paths if each.is_file()}


async def test_what_templates_do_with_kv_is_the_same_byte_for_byte(
    leasehold: Start, scene: Scene
) -> None:
    scene.kv.put("app", user="before")
    scene.kv.put("app", **FIELDS)
    scene.kv.annotate("app", owner="shop")
    old = scene.bao.kv(1)
    old.put("plain", word="w", zebra="z")
    token = scene.bao.make_token("root", ttl="1h").id
    (scene.folder / "token").write_text(token)
    theirs = scene.memory / "theirs"
    words = {"ADDRESS": scene.bao.address, "FOLDER": str(scene.folder), "OUT": str(theirs)}
    source = prepared("kv.hcl", scene.folder, words | {"KV": scene.kv.mount, "V1": old.mount})
    await bao_agent(source, ENVIRONMENT)
    done = await imported(leasehold, source, scene.memory / "ours")
    assert "no part" not in done.err and "template, line" not in done.err, done.err
    once = await leasehold.command(
        "once", "-c", leasehold.file, "--timeout", "60s", environment=ENVIRONMENT
    )
    assert (await once.wait(within=100)).code == 0, once.story()
    expected = rendered(theirs)
    assert len(expected) == 6 and rendered(scene.memory / "ours") == expected
    assert (scene.memory / "ours/one/short").stat().st_mode & 0o777 == 0o640


async def test_credentials_and_certificates_have_the_same_shape(
    leasehold: Start, scene: Scene, database: MakeDatabase
) -> None:
    made, pki = database(ttl="1h"), scene.bao.pki()
    scene.allow(made.path, "read")
    scene.allow(f"{pki}/issue/web", "update")
    (scene.folder / "role-id").write_text(scene.role.role_id)
    theirs = scene.memory / "theirs"
    words = {"ADDRESS": scene.bao.address, "FOLDER": str(scene.folder), "OUT": str(theirs)}
    words |= {"MOUNT": scene.role.mount, "DATABASE": made.path, "PKI": pki}
    source = prepared("engines.hcl", scene.folder, words)
    await bao_agent(source, {})
    await imported(leasehold, source, scene.memory / "ours")
    once = await leasehold.command("once", "-c", leasehold.file, "--timeout", "60s")
    assert (await once.wait(within=100)).code == 0, once.story()
    ours, expected = rendered(scene.memory / "ours"), rendered(theirs)
    assert {name: shape(data) for name, data in ours.items()} == {
        name: shape(data) for name, data in expected.items()
    }
    username, _, password = ours["db/login"].decode().partition(":")
    assert made.postgres.can_log_in(username, password)


def shape(data: bytes) -> str:
    """Blocks by their kinds, names and passwords by what they are made of."""
    text = _PEM.sub(lambda match: f"<{match[1]}>", data.decode())
    return re.sub(r"v-[A-Za-z0-9_-]+:[A-Za-z0-9_-]+", "<login>", text)
