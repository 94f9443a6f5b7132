"""What is asked of systemd, and what is made of its answers.

Here `systemctl` is a script that answers in the real one's form; the real systemd has its say in
the tests of deployment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.config.model import NotifySignal, NotifySystemd
from agent.core.errors import ConfigurationError, NotifyError
from agent.delivery.notify import Announcement, notifier
from tests.rig.signal_app import SignalApp, own_executable

NEWS = Announcement("web", Path("/run/web"), 7)

_SCRIPT = """#!/bin/sh
cd {folder}
echo "$*" >>asked
env >environment
case "$*" in
    *" show "*) cat state ;;
    *) . ./action ;;
esac
"""


class Systemctl:
    """A systemctl on PATH: `state` is what `show` prints, `action` a shell script for the rest."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "systemctl").write_text(_SCRIPT.format(folder=folder))
        (folder / "systemctl").chmod(0o755)
        self.has(active="active")
        self.acts("exit 0")

    def has(self, *, load: str = "loaded", active: str, main_pid: int = 0) -> None:
        """What `show` says from now on, in systemd's own order."""
        text = f"MainPID={main_pid}\nLoadState={load}\nActiveState={active}\n"
        (self._folder / "state").write_text(text)

    def shows(self, *main_pids: int) -> None:
        """`show` names one main process after the other, and the last one from then on."""
        for number, pid in enumerate(main_pids):
            self.has(active="active", main_pid=pid)
            (self._folder / "state").rename(self._folder / f"state.{number}")
        script = (self._folder / "systemctl").read_text()
        pick = 'mv "$(ls state.* | head -n1)" state 2>/dev/null; cat state'
        (self._folder / "systemctl").write_text(script.replace("cat state", pick))

    def acts(self, script: str) -> None:
        (self._folder / "action").write_text(script + "\n")

    def asked(self) -> list[str]:
        """The arguments of each call."""
        return (self._folder / "asked").read_text().splitlines()

    def environment(self) -> dict[str, str]:
        """What the last call had in its environment."""
        lines = (self._folder / "environment").read_text().splitlines()
        return dict(line.partition("=")[::2] for line in lines)


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Systemctl:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return Systemctl(tmp_path)


@pytest.fixture
def start_app(tmp_path: Path) -> Iterator[Callable[[], SignalApp]]:
    apps: list[SignalApp] = []

    def start() -> SignalApp:
        apps.append(SignalApp(own_executable(tmp_path, f"app{len(apps)}")))
        return apps[-1]

    yield start
    for app in apps:
        app.end()


async def refusal(spec: NotifySystemd | NotifySignal) -> NotifyError:
    with pytest.raises(NotifyError) as raised:
        await notifier(spec).notify(NEWS)
    return raised.value


@pytest.mark.parametrize("action", ["reload", "restart", "reload-or-restart"])
async def test_systemd_is_asked_for_the_action(systemctl: Systemctl, action: str) -> None:
    spec = NotifySystemd(systemd="app.service", action=action)  # type: ignore[arg-type]
    way = notifier(spec)
    await way.notify(NEWS)
    assert systemctl.asked() == [
        "--system --no-ask-password --no-pager show"
        " --property LoadState,ActiveState,MainPID -- app.service",
        f"--system --no-ask-password --no-pager {action} -- app.service",
    ]
    assert way.target == f"systemd {action} of app.service"


async def test_a_unit_whose_name_looks_like_an_option_is_a_unit(systemctl: Systemctl) -> None:
    await notifier(NotifySystemd(systemd="-.mount")).notify(NEWS)
    assert systemctl.asked()[1].endswith(" reload -- -.mount")


@pytest.mark.parametrize("name", ["", "a b", "*", "app@?.service", "a;b", "a\n", "[a]", "/run"])
def test_what_is_no_name_of_one_unit_is_a_configuration_error(name: str) -> None:
    with pytest.raises(ConfigurationError):
        notifier(NotifySystemd(systemd=name))


async def test_a_failure_is_told_in_the_words_of_systemctl(systemctl: Systemctl) -> None:
    systemctl.acts('printf "Job for app.service failed.\\n\\033[31mSee \\"x\\".\\n" >&2; exit 1')
    error = await refusal(NotifySystemd(systemd="app.service", action="restart"))
    assert str(error) == (
        "systemd restart of app.service: systemctl restart: Job for app.service failed.; "
        '?[31mSee "x".'
    )
    assert not error.is_absent


async def test_a_failure_without_words_has_its_exit_code(systemctl: Systemctl) -> None:
    systemctl.acts("exit 4")
    assert "systemctl reload: exit code 4" in str(await refusal(NotifySystemd(systemd="app")))


@pytest.mark.parametrize("action", ["reload", "restart", "reload-or-restart"])
async def test_a_stopped_unit_is_absent_and_is_not_started(
    systemctl: Systemctl, action: str
) -> None:
    systemctl.has(active="inactive")
    error = await refusal(NotifySystemd(systemd="app.service", action=action))  # type: ignore[arg-type]
    assert error.is_absent
    assert len(systemctl.asked()) == 1


async def test_a_failed_unit_is_restarted_but_not_reloaded(systemctl: Systemctl) -> None:
    systemctl.has(active="failed")
    await notifier(NotifySystemd(systemd="app.service", action="restart")).notify(NEWS)
    assert (await refusal(NotifySystemd(systemd="app.service", action="reload"))).is_absent
    assert [line.split()[3] for line in systemctl.asked()] == ["show", "restart", "show"]


async def test_a_unit_that_does_not_exist_is_not_merely_absent(systemctl: Systemctl) -> None:
    systemctl.has(load="not-found", active="inactive")
    error = await refusal(NotifySystemd(systemd="typo.service"))
    assert "there is no such unit" in str(error)
    assert not error.is_absent


async def test_a_machine_without_systemd_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "systemctl is not installed" in str(await refusal(NotifySystemd(systemd="app")))


async def test_a_job_without_end_is_given_up(systemctl: Systemctl) -> None:
    systemctl.acts("exec sleep 600")
    error = await refusal(NotifySystemd(systemd="app", timeout=0.2))
    assert str(error) == "systemd reload of app: no end within 0.2 s"


async def test_systemctl_sees_no_credential_of_the_agent(
    systemctl: Systemctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAULT_TOKEN", "s.abcdef")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    await notifier(NotifySystemd(systemd="app")).notify(NEWS)
    seen = systemctl.environment()
    assert "VAULT_TOKEN" not in seen
    assert seen["LC_ALL"] == "C"


# --- a signal to a unit -----------------------------------------------------------------------


async def test_the_main_process_of_a_unit_is_told(
    systemctl: Systemctl, start_app: Callable[[], SignalApp]
) -> None:
    app = start_app()
    systemctl.has(active="active", main_pid=app.pid)
    await notifier(NotifySignal(signal="HUP", unit="app.service")).notify(NEWS)
    assert app.times_told() == 1


async def test_a_unit_restarted_between_the_looks_leads_to_the_new_process(
    systemctl: Systemctl, start_app: Callable[[], SignalApp]
) -> None:
    before, after = start_app(), start_app()
    systemctl.shows(before.pid, after.pid)
    await notifier(NotifySignal(signal="HUP", unit="app.service")).notify(NEWS)
    assert (before.times_told(), after.times_told()) == (0, 1)


@pytest.mark.parametrize("state", ["inactive", "failed"])
async def test_a_unit_that_does_not_run_is_absent(systemctl: Systemctl, state: str) -> None:
    systemctl.has(active=state)
    error = await refusal(NotifySignal(signal="HUP", unit="app.service"))
    assert str(error) == f"SIGHUP to app.service: the unit is {state}"
    assert error.is_absent


async def test_a_unit_without_a_main_process_is_an_error(systemctl: Systemctl) -> None:
    systemctl.has(active="active", main_pid=0)
    error = await refusal(NotifySignal(signal="HUP", unit="mnt.mount"))
    assert "no main process" in str(error)
    assert not error.is_absent
