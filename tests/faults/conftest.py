"""Gathers the outcomes of the fault matrix from all processes of a run, for docs/reliability.md.

With `--dist loadgroup` the matrix is spread fault by fault, everything else file by file.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.matrix.table import is_complete, write_into

FAILED = "**failed**"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--matrix-into", type=Path, help="write the fault matrix into this page")


def pytest_configure(config: pytest.Config) -> None:
    """Where the run is led from, not in each worker."""
    page = config.getoption("--matrix-into", default=None)
    if page is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Gathering(page), "gathering")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))


class Gathering:
    """Hears of every test, wherever it ran; writes the page when all cells were there."""

    def __init__(self, page: Path) -> None:
        self._page = page
        self._outcomes: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if "::test_cell[" not in report.nodeid:
            return
        cell = report.nodeid.partition("[")[2].partition("]")[0]
        told = dict(report.user_properties).get("outcome")
        if report.failed:
            self._outcomes[cell] = FAILED
        elif report.when == "call" and told is not None:
            self._outcomes[cell] = str(told)

    def pytest_sessionfinish(self) -> None:
        if is_complete(self._outcomes):
            write_into(self._page, self._outcomes)
