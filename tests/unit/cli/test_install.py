"""`leasehold install`: what it writes, what it leaves alone, what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from agent.cli.install import command
from agent.core.errors import AgentError
from agent.installing import program, units
from agent.installing.place import File, State, is_ours

PROGRAM = "/opt/leasehold/bin/leasehold"
ROOT = Path(__file__).parents[3]
UNIT = "etc/systemd/system/leasehold.service"


class Install:
    """Below a root of the test's own."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __call__(self, *arguments: str, program: str = PROGRAM) -> str:
        options = ["--systemd", "--root", str(self.root), "--program", program, *arguments]
        done = CliRunner().invoke(command, options, standalone_mode=False)
        if done.exception is not None:
            raise done.exception
        return done.output

    def text(self, path: str) -> str:
        return (self.root / path).read_text()

    def there(self) -> set[str]:
        """All files."""
        found = (path for path in self.root.rglob("*") if path.is_file())
        return {str(path.relative_to(self.root)) for path in found}


@pytest.fixture
def install(tmp_path: Path) -> Install:
    return Install(tmp_path / "root")


def settings(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and line[0] not in "#["]


def test_the_service_runs_this_command_as_a_user_of_its_own(install: Install) -> None:
    install()
    found = settings(install.text(UNIT))
    start = f"ExecStart={PROGRAM} agent -c /etc/leasehold/leasehold.yaml $LEASEHOLD_OPTIONS"
    assert start in found and "User=leasehold" in found and "Type=notify" in found
    assert "u leasehold" in install.text("etc/sysusers.d/leasehold.conf")
    assert install.there() == {UNIT, "etc/sysusers.d/leasehold.conf"}
    assert (install.root / "etc/leasehold/credentials").stat().st_mode & 0o777 == 0o700
    assert (install.root / UNIT).stat().st_mode & 0o777 == 0o644


def test_a_second_run_changes_nothing(install: Install) -> None:
    install("--keep-leases")
    before = {path: (install.root / path).stat().st_mtime_ns for path in install.there()}
    said = install("--keep-leases")
    assert said.count("unchanged ") == len(before) == 3 and "written" not in said
    assert {path: (install.root / path).stat().st_mtime_ns for path in before} == before


def test_what_an_earlier_choice_has_left_is_said(install: Install) -> None:
    install("--dynamic-user")
    assert f"stays        {install.root / UNIT}.d/dynamic-user.conf" in install()


def test_what_is_outdated_is_replaced(install: Install) -> None:
    install(program="/opt/old/leasehold")
    assert f"written      {install.root / UNIT}" in install()
    assert "/opt/old" not in install.text(UNIT)


def test_what_was_changed_by_hand_stays_and_is_shown(
    install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    install()
    mine = install.text(UNIT).replace("WatchdogSec=30s", "WatchdogSec=5s")
    (install.root / UNIT).write_text(mine)
    with pytest.raises(AgentError, match=r"leasehold\.service: not as leasehold wrote it"):
        install("--keep-leases")
    assert install.text(UNIT) == mine
    assert not any("keep-leases" in path for path in install.there()), "all or nothing"
    install("--force")
    assert "WatchdogSec=30s" in install.text(UNIT)


def test_a_difference_is_shown_as_diff_does(tmp_path: Path) -> None:
    file = File(Path("/etc/x.conf"), "a\nb\n")
    file.write(tmp_path)
    (tmp_path / "etc/x.conf").write_text("a\nc\n")
    assert "-c\n" in file.difference(tmp_path) and "+b\n" in file.difference(tmp_path)
    assert file.state(tmp_path) is State.FOREIGN


def test_a_file_of_somebody_else_is_not_ours(install: Install) -> None:
    path = install.root / UNIT
    path.parent.mkdir(parents=True)
    path.write_text("[Service]\n")
    assert not is_ours("[Service]\n")
    with pytest.raises(AgentError, match="not as leasehold wrote it"):
        install()


def test_a_link_is_not_followed(install: Install, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    path = install.root / UNIT
    path.parent.mkdir(parents=True)
    path.symlink_to(tmp_path / "precious")
    with pytest.raises(AgentError, match="is a link"):
        install("--force")
    assert (tmp_path / "precious").read_text() == "mine"


def test_a_dry_run_writes_nothing(install: Install) -> None:
    said = install("--dry-run")
    assert f"would write  {install.root / UNIT}" in said and "+WatchdogSec=30s" in said
    assert not install.root.exists()


def test_an_instance_has_its_own_of_everything(install: Install) -> None:
    options = ("--instance", "orders", "--group", "orders", "--encrypted-credentials")
    install(*options, "--reloads", "orders.service", "--systemd-version", "257")
    folder = "etc/systemd/system/leasehold@orders.service.d"
    assert install.there() == {
        "etc/systemd/system/leasehold@.service",
        "etc/sysusers.d/leasehold-orders.conf",
        "etc/polkit-1/rules.d/50-leasehold-orders.rules",
        *(f"{folder}/{name}.conf" for name in ("groups", "notify-reload", "encrypted-credentials")),
    }
    assert "SupplementaryGroups=orders" in install.text(f"{folder}/groups.conf")
    assert "/credentials/orders/" in install.text(f"{folder}/encrypted-credentials.conf")
    assert "/etc/leasehold/orders.yaml" in install.text(f"{folder}/notify-reload.conf")
    rule = install.text("etc/polkit-1/rules.d/50-leasehold-orders.rules")
    assert '"leasehold-orders"' in rule and '["orders.service"]' in rule


@pytest.mark.parametrize(("version", "is_wanted"), [(252, False), (253, True)])
def test_notify_reload_where_systemd_has_it(
    install: Install, version: int, is_wanted: bool
) -> None:
    install("--systemd-version", str(version))
    assert any("notify-reload" in path for path in install.there()) == is_wanted


@pytest.mark.parametrize("option", ["--dynamic-user", "--as-root"])
def test_no_user_is_made_where_there_is_one(install: Install, option: str) -> None:
    install(option)
    assert not any("sysusers" in path for path in install.there())


def test_networks(install: Install) -> None:
    install("--network", "203.0.113.0/24", "--network", "2001:db8::1")
    text = install.text(f"{UNIT}.d/networks.conf")
    assert settings(text) == ["IPAddressAllow=203.0.113.0/24 2001:db8::1"]


def test_remove_takes_what_is_ours_and_leaves_the_rest(install: Install) -> None:
    install("--keep-leases", "--socket", "secrets", "--reloads", "app.service")
    by_hand = install.root / f"{UNIT}.d/local.conf"
    by_hand.write_text("[Service]\nNice=5\n")
    with pytest.raises(AgentError, match=r"local\.conf: not as leasehold wrote it"):
        install("--remove")
    by_hand.unlink()
    install("--remove")
    assert not install.there() and not (install.root / f"{UNIT}.d").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--instance", "../x"], "--instance '../x': must be a letter"),
        (["--instance", "x" * 22], "must be a letter"),
        (["--group", "a b"], "--group 'a b': must be the name of a group"),
        (["--reloads", 'x"];service'], "must be the name of a unit"),
        (["--network", "home"], "--network 'home': must be any, an address, or a network"),
        (["--network", "any", "--network", "10.0.0.1"], "--network any: leave the others out"),
        (["--as-root", "--dynamic-user"], "one of them"),
        (["--as-root", "--reloads", "app.service"], "root may reload every unit"),
        (["--instance", "orders", "--socket", "secrets"], "belong to the agent of the host"),
    ],
)
def test_what_does_not_fit_is_said(install: Install, arguments: list[str], said: str) -> None:
    with pytest.raises(AgentError) as refused:
        install(*arguments)
    assert said in str(refused.value)
    assert not install.root.exists()


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/opt/my tools/leasehold", "an absolute path without blanks"),
        ("leasehold", "an absolute path"),
        ("/home/alice/venv/bin/leasehold", "a service does not see /home"),
    ],
)
def test_a_command_that_a_service_can_not_run(install: Install, path: str, said: str) -> None:
    with pytest.raises(AgentError) as refused:
        install(program=path)
    assert said in str(refused.value)


def test_only_root_writes_on_this_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    done = CliRunner().invoke(command, ["--systemd"], standalone_mode=False)
    assert isinstance(done.exception, AgentError) and "only root" in str(done.exception)


def test_a_command_that_others_could_replace(tmp_path: Path) -> None:
    script = tmp_path / "leasehold"
    script.write_text("#!/bin/sh\n")
    with pytest.raises(AgentError, match="can't be run"):
        program.check_trusted(script)
    script.chmod(0o777)
    with pytest.raises(AgentError, match=r"writable for others than root|belongs to uid"):
        program.check_trusted(script)


def all_of_deploy() -> Iterator[Path]:
    return (path for path in units.TEXTS.rglob("*") if path.is_file())


def test_every_text_is_one_that_can_be_installed_or_an_example(install: Install) -> None:
    """And those of the examples are read by a real systemd in tests/deploy."""
    host = [
        "--keep-leases",
        "--encrypted-credentials",
        "--other-programs",
        "--reloads",
        "a.service",
    ]
    sockets = ["--socket", "secrets", "--socket", "credentials"]
    version = ["--systemd-version", "257"]
    install(*host, *sockets, *version, "--network", "any")
    install("--dynamic-user")
    install("--as-root")
    install("--instance", "orders")
    installed = {line for path in install.there() for line in settings(install.text(path))}
    for path in all_of_deploy():
        if path.parent.name != "app.service.d" and path.suffix not in (".polkit", ".sysusers"):
            wanted = {line.replace(units.PROGRAM, PROGRAM) for line in settings(path.read_text())}
            assert wanted <= installed, path.name


def test_the_texts_are_a_part_of_the_package() -> None:
    assert units.TEXTS.is_relative_to(ROOT / "agent") and not units.TEXTS.is_symlink()
    assert (ROOT / "deploy/systemd").resolve() == units.TEXTS
