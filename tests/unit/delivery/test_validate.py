"""A candidate is checked where it is, before anybody else sees it."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.config.model import ValidateCommand
from agent.core.errors import ValidateError
from agent.delivery.announcement import Announcement
from agent.delivery.validate import validate

NEXT = Announcement("web", Path("/run/leasehold/web"), 8)


@pytest.fixture
def candidate(tmp_path: Path) -> Path:
    (tmp_path / "app.conf").write_text("password = hunter2\n")
    return tmp_path


def shell(script: str, *arguments: str, timeout: float = 10.0) -> ValidateCommand:
    return ValidateCommand(command=("sh", "-c", script, "sh", *arguments), timeout=timeout)


async def test_the_command_sees_the_candidate_in_arguments_and_environment(candidate: Path) -> None:
    script = 'test "$1" = "$LEASEHOLD_DIRECTORY/app.conf" && grep -q password "$1"'
    await validate(shell(script, "{directory}/app.conf"), candidate, NEXT)


async def test_the_command_knows_bundle_and_generation(candidate: Path) -> None:
    script = 'test "$LEASEHOLD_BUNDLE.$LEASEHOLD_GENERATION.$1" = web.8.8'
    await validate(shell(script, "{generation}"), candidate, NEXT)


async def test_the_command_sees_no_credential_of_the_agent(
    candidate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAULT_TOKEN", "s.abcdef")
    await validate(shell('test -z "${VAULT_TOKEN+set}"'), candidate, NEXT)


async def test_a_refused_candidate_is_an_error_that_does_not_quote_it(candidate: Path) -> None:
    with pytest.raises(ValidateError) as raised:
        await validate(shell('cat "$1" >&2; exit 1', "{directory}/app.conf"), candidate, NEXT)
    assert str(raised.value) == "command sh: exit code 1"


async def test_a_check_without_end_refuses_the_candidate(candidate: Path) -> None:
    with pytest.raises(ValidateError, match=r"no end within 0\.1 s"):
        await validate(shell("exec sleep 600", timeout=0.1), candidate, NEXT)


async def test_a_check_that_can_not_be_run_refuses_the_candidate(candidate: Path) -> None:
    spec = ValidateCommand(command=("/nonexistent/check",))
    with pytest.raises(ValidateError, match="can't be started"):
        await validate(spec, candidate, NEXT)
