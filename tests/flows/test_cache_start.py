"""What a cache asks of a start: its key and its lock, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rig.agent import Start
from tests.rig.kept import key_file
from tests.rig.scene import Configuration, Scene, value


@pytest.fixture
def configuration(scene: Scene) -> Configuration:
    scene.kv.put("app", password=value())
    key_file(scene.folder)
    return scene.configuration(
        secrets={"app": scene.secret("app")},
        bundles={"app": scene.bundle("app", {"password": "{{ app.password }}"})},
        cache={
            "file": str(scene.folder / "state" / "cache"),
            "key": {"file": str(scene.folder / "key")},
        },
    )


@pytest.fixture
def file(scene: Scene) -> Path:
    return scene.folder / "state" / "cache"


def alter(file: Path) -> bytes:
    """Its last byte; what stands there then."""
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    return bytes(content)


async def test_a_key_that_others_may_read_stops_the_start(
    leasehold: Start, scene: Scene, configuration: Configuration
) -> None:
    (scene.folder / "key").chmod(0o644)
    done = await (await leasehold(configuration, "agent")).wait()
    assert done.code == 2
    assert "cache.key: " in done.err and "mode 0644 lets others in" in done.err
    assert scene.logins() == 0


async def test_check_tries_the_key_on_its_host(
    leasehold: Start, scene: Scene, configuration: Configuration, file: Path
) -> None:
    done = await (await leasehold(configuration, "check", ["--live"])).wait()
    assert done.code == 0 and "ok: cache" in done.out
    assert not file.parent.exists(), "a check makes nothing"
    (scene.folder / "key").write_text("short")
    done = await (await leasehold(configuration, "check", ["--live"])).wait()
    assert done.code == 2 and "a key has 64 hexadecimal characters or 32 bytes" in done.err
    done = await (await leasehold(configuration, "check")).wait()
    assert done.code == 0, "elsewhere only the text is judged"


async def test_a_second_agent_on_a_cache_is_told_of_the_first(
    leasehold: Start, scene: Scene, configuration: Configuration, file: Path
) -> None:
    first = await leasehold(configuration, "agent")
    await first.event("cache_written")
    bundle = scene.bundle("other", {"password": "{{ app.password }}"})
    others = {"bundles": {"other": bundle}, "telemetry": {"socket": f"{scene.telemetry}-2"}}
    folder = scene.folder / "second"
    folder.mkdir()
    done = await (await Start(folder)(configuration | others, "agent")).wait()
    assert done.code == 1
    assert f"{file}: this cache is used by another agent (process {first.pid})" in done.err
    assert "Traceback" not in done.err
    await first.stop()


async def test_an_altered_cache_is_refused_and_the_agent_starts(
    leasehold: Start, configuration: Configuration, file: Path
) -> None:
    first = await leasehold(configuration, "agent")
    await first.event("cache_written")
    await first.kill()
    content = alter(file)
    second = await leasehold(configuration, "agent")
    refused = await second.event("cache_refused")
    assert "was altered or is damaged; set aside as" in refused["reason"]
    await second.event("cache_written")
    await second.stop()
    assert file.with_name("cache.refused").read_bytes() == content
    third = await leasehold(configuration, "agent")
    await third.event("cache_taken_up")
    await third.stop()
