"""What holds for every test: nothing blocks, nothing is left over, nothing is skipped in CI."""

from __future__ import annotations

import asyncio
import faulthandler
import inspect
import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from blockbuster import BlockBuster
from hypothesis import HealthCheck, settings

from tests.rig.clock import JumpClock

pytest_plugins = [
    "tests.rig.agent",
    "tests.rig.memory",
    "tests.rig.openbao",
    "tests.rig.postgres",
    "tests.rig.proxy",
    "tests.rig.raft",
    "tests.rig.scene",
    "tests.rig.clustered",
    "tests.rig.containers",
    "tests.rig.pod",
    "tests.rig.doors",
]

IS_CI = os.environ.get("CI", "").lower() in ("1", "true")

faulthandler.enable()
settings.register_profile(
    "ci", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("explore", deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

for name in [name for name in os.environ if name.startswith(("VAULT_", "BAO_", "LEASEHOLD_"))]:
    del os.environ[name]


def _blockbuster() -> BlockBuster:
    """Refuses blocking calls made by the agent on a loop; what a test itself does is its affair."""
    guard = BlockBuster(scanned_modules=["agent"])
    for function in guard.functions.values():
        # Modules are imported when they are needed, also inside a coroutine.
        function.can_block_in("<frozen importlib._bootstrap>", "_find_and_load")
        function.can_block_in("/subprocess.py", "_execute_child")
        function.can_block_in("/traceback.py", "extract")
        function.can_block_in("/linecache.py", {"updatecache", "checkcache"})
    return guard


BLOCKBUSTER = _blockbuster()


@pytest.fixture(autouse=True)
def _clean_loop(request: pytest.FixtureRequest) -> None:
    """Every async test runs under both guards below."""
    function = getattr(request, "function", None)
    function = getattr(getattr(function, "hypothesis", None), "inner_test", function)
    if inspect.iscoroutinefunction(function):
        request.getfixturevalue("no_blocking_calls")
        request.getfixturevalue("no_leaked_tasks")


@pytest.fixture
def no_blocking_calls() -> Iterator[None]:
    """A blocking call on the loop from within the agent raises `BlockingError`."""
    BLOCKBUSTER.activate()
    yield
    BLOCKBUSTER.deactivate()


@pytest.fixture
async def no_leaked_tasks() -> AsyncIterator[None]:
    """A task that outlives its test, and the test's fixtures, fails it."""
    yield
    await asyncio.sleep(0)
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in left:
        task.cancel()
    assert not left, f"tasks left over: {[task.get_name() for task in left]}: {left}"


@pytest.fixture
async def clock() -> JumpClock:
    """A clock of this test's own."""
    return JumpClock()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Any:
    return _refuse_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Any:
    return _refuse_skip((yield))


def _refuse_skip(report: Any) -> Any:
    """In CI whatever a test needs is there: a skip is a failure that names what is missing."""
    if IS_CI and report.outcome == "skipped" and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"skipped under CI, where nothing may be missing: {reason}"
    return report
