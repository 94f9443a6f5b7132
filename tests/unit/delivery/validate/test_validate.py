"""A candidate is checked where it is, before anybody else sees it."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.config.model import Bundle, FormatFile, InlineFile, JsonCheck, Validate
from agent.core.errors import ValidateError
from agent.delivery.announcement import Announcement
from agent.delivery.generations import RenderedFile
from agent.delivery.validate import validate
from tests.rig.certificates import certified

NEXT = Announcement("web", Path("/run/leasehold/web"), 8)


@pytest.fixture
def candidate(tmp_path: Path) -> Path:
    (tmp_path / "app.conf").write_text("password = hunter2\n")
    return tmp_path


def shell(script: str, *arguments: str, timeout: float = 10.0) -> Validate:
    return Validate(command=("sh", "-c", script, "sh", *arguments), timeout=timeout)


async def judged(asked: Validate | None, candidate: Path, content: str = "{}") -> None:
    """A candidate with the file app.conf."""
    file = InlineFile(content="")
    spec = Bundle(directory=NEXT.directory, files={"app.conf": file}, validate=asked)
    rendered = {"app.conf": RenderedFile(content.encode(), 0o440)}
    await validate(spec, rendered, candidate, NEXT, wall=0.0)


async def test_the_command_sees_the_candidate_in_arguments_and_environment(candidate: Path) -> None:
    script = 'test "$1" = "$LEASEHOLD_DIRECTORY/app.conf" && grep -q password "$1"'
    await judged(shell(script, "{directory}/app.conf"), candidate)


async def test_the_command_knows_bundle_and_generation(candidate: Path) -> None:
    script = 'test "$LEASEHOLD_BUNDLE.$LEASEHOLD_GENERATION.$1" = web.8.8'
    await judged(shell(script, "{generation}"), candidate)


async def test_the_command_sees_no_credential_of_the_agent(
    candidate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAULT_TOKEN", "s.abcdef")
    await judged(shell('test -z "${VAULT_TOKEN+set}"'), candidate)


async def test_a_refused_candidate_is_an_error_that_does_not_quote_it(candidate: Path) -> None:
    with pytest.raises(ValidateError) as raised:
        await judged(shell('cat "$1" >&2; exit 1', "{directory}/app.conf"), candidate)
    assert str(raised.value) == "command sh: exit code 1"


async def test_a_check_without_end_refuses_the_candidate(candidate: Path) -> None:
    with pytest.raises(ValidateError, match=r"no end within 0\.1 s"):
        await judged(shell("exec sleep 600", timeout=0.1), candidate)


async def test_a_check_that_can_not_be_run_refuses_the_candidate(candidate: Path) -> None:
    spec = Validate(command=("/nonexistent/check",))
    with pytest.raises(ValidateError, match="can't be started"):
        await judged(spec, candidate)


async def test_the_checks_come_first_and_the_command_need_not_be(candidate: Path) -> None:
    ran = candidate / "ran"
    asked = Validate(command=("touch", str(ran)), checks=(JsonCheck(json="app.conf"),))
    with pytest.raises(ValidateError, match=r"app\.conf: is no JSON: line 1, column 1"):
        await judged(asked, candidate, "hunter2")
    assert not ran.exists()
    await judged(asked, candidate)
    assert ran.exists()
    await judged(Validate(checks=asked.checks), candidate)
    await judged(None, candidate)


async def test_a_mismatched_pair_is_refused_though_nothing_was_asked(candidate: Path) -> None:
    pem = FormatFile(format="pem", secrets=("web",), parts=("certificate", "private_key"))
    spec = Bundle(directory=NEXT.directory, files={"tls.pem": pem})
    first, second = certified("www.example"), certified("www.example")
    for key, is_good in ((first.key, True), (second.key, False)):
        rendered = {"tls.pem": RenderedFile((first.pem + key).encode(), 0o440)}
        if is_good:
            await validate(spec, rendered, candidate, NEXT, wall=0.0)
        else:
            with pytest.raises(ValidateError, match="the private key is not the certificate's"):
                await validate(spec, rendered, candidate, NEXT, wall=0.0)
