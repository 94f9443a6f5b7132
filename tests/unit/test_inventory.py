"""Every file of configs/ and deploy/ is loaded or started by a test."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

USED_BY = {
    "configs/*.yaml": "tests/unit/config/test_examples.py",
    "configs/leasehold.schema.json": "tests/unit/config/test_schema.py",
    "configs/apps/redis/*": "tests/deploy/apps/test_redis.py",
    "configs/apps/scripts/haproxy-*": "tests/deploy/apps/test_haproxy.py",
    "configs/apps/scripts/redis-*": "tests/deploy/apps/test_redis.py",
    "configs/apps/scripts/served-*": "tests/deploy/apps/test_nginx.py",
    "deploy/compose/*": "tests/deploy/test_container_compose.py",
    "deploy/container/*": "tests/deploy/test_container_image.py",
    "deploy/demo/*": "tests/deploy/test_demo.py",
    "deploy/examples/java/*": "tests/deploy/apps/test_java.py",
    "deploy/examples/node/*": "tests/deploy/apps/test_node.py",
    "deploy/examples/sqlalchemy/*": "tests/deploy/apps/test_sqlalchemy.py",
    "deploy/helm/*": "tests/deploy/test_helm.py",
    "deploy/kubernetes/*": "tests/deploy/test_kubernetes.py",
    "deploy/monitoring/*": "tests/deploy/test_kubernetes_monitoring.py",
    "deploy/package/*": "tests/deploy/test_package.py",
    "deploy/raft/*": "tests/deploy/test_raft_example.py",
    "deploy/systemd/*": "tests/deploy/test_systemd.py",
}
"""Which test it is by the file's path; what a folder's README or program takes up counts as one."""

NOT_OURS = {"__pycache__", "node_modules"}


def files() -> list[str]:
    found = (each for top in ("configs", "deploy") for each in (ROOT / top).rglob("*"))
    return [
        str(each.relative_to(ROOT))
        for each in found
        if each.is_file() and not NOT_OURS & set(each.parts)
    ]


def test_every_file_has_a_test_that_uses_it() -> None:
    assert [each for each in files() if not any(fnmatch(each, at) for at in USED_BY)] == []


@pytest.mark.parametrize(("pattern", "test"), USED_BY.items())
def test_the_test_is_there_and_so_is_what_it_uses(pattern: str, test: str) -> None:
    assert (ROOT / test).is_file()
    assert any(fnmatch(each, pattern) for each in [*files(), *through_links()])


def through_links() -> list[str]:
    """`rglob` does not follow them."""
    links = [each for each in (ROOT / "deploy").iterdir() if each.is_symlink()]
    return [f"deploy/{link.name}/{each.name}" for link in links for each in link.iterdir()]
