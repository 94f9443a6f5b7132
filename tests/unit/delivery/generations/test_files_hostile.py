"""Other users of the host plant links, directories and pipes; none redirects or reads a secret."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.core.errors import PublishError
from agent.delivery.generations.tree import opened, write_file
from tests.rig.generations import generations, names_in, published, rendered
from tests.rig.memory import MakeTmpfs
from tests.rig.needs import needs_root

SOMEBODY = 54321


@pytest.fixture
def directory(memory_directory: Path) -> Path:
    """Not there yet."""
    return memory_directory / "app"


@pytest.fixture
def elsewhere(memory_directory: Path) -> Path:
    """Where an attacker would like the secrets to be."""
    path = memory_directory / "elsewhere"
    path.mkdir()
    return path


def test_a_link_in_place_of_the_directory_is_refused(directory: Path, elsewhere: Path) -> None:
    directory.symlink_to(elsewhere)
    with pytest.raises(PublishError, match="app: is a link or a file where a directory has to be"):
        generations(directory).prepare()
    assert names_in(elsewhere) == set()


def test_a_dangling_link_in_place_of_the_directory_is_refused(
    directory: Path, elsewhere: Path
) -> None:
    directory.symlink_to(elsewhere / "not-there")
    with pytest.raises(PublishError, match="is a link or a file"):
        generations(directory).prepare()
    assert names_in(elsewhere) == set()


def test_a_directory_swapped_for_a_link_while_running_is_refused(
    directory: Path, elsewhere: Path
) -> None:
    of = generations(directory)
    of.prepare()
    published(of, a="1")
    candidate = of.write(rendered(a="2"))
    directory.rename(directory.with_name("moved"))
    directory.symlink_to(elsewhere)

    acts: list[Callable[[], object]] = [
        lambda: of.write(rendered(a="3")),
        lambda: of.publish(candidate),
        lambda: of.restore(1),
        lambda: of.mark_announced(1),
        of.remove,
    ]
    for act in acts:
        with pytest.raises(PublishError, match="is a link or a file"):
            act()
    assert names_in(elsewhere) == set()


def test_a_directory_that_somebody_else_prepared_is_refused(directory: Path) -> None:
    needs_root()
    directory.mkdir(mode=0o755)
    os.chown(directory, SOMEBODY, SOMEBODY)
    with pytest.raises(PublishError, match=f"belongs to user {SOMEBODY}.*choose another directory"):
        generations(directory).prepare()
    assert names_in(directory) == set()


def test_a_directory_of_the_bundles_owner_is_accepted(directory: Path) -> None:
    needs_root()
    directory.mkdir(mode=0o755)
    os.chown(directory, SOMEBODY, SOMEBODY)
    of = generations(directory, uid=SOMEBODY)
    of.prepare()
    assert published(of, a="1") == 1


def test_a_directory_that_changes_hands_while_running_is_refused(directory: Path) -> None:
    needs_root()
    of = generations(directory)
    of.prepare()
    os.chown(directory, SOMEBODY, -1)
    with pytest.raises(PublishError, match="belongs to user"):
        of.write(rendered(a="1"))


def test_a_directory_that_everybody_may_write_is_refused(directory: Path) -> None:
    directory.mkdir()
    directory.chmod(0o777)
    with pytest.raises(PublishError, match=r"can be written by every user.*chmod o-w"):
        generations(directory).prepare()
    directory.chmod(0o1777)
    generations(directory).prepare()


def test_a_volume_that_is_open_to_all_is_accepted(make_tmpfs: MakeTmpfs) -> None:
    """Kubernetes makes every `emptyDir` so."""
    volume = make_tmpfs("size=256k,mode=0777")
    of = generations(volume)
    of.prepare()
    published(of, a="1")
    assert (volume / "a").read_text() == "1"


def test_links_planted_as_candidates_are_swept_away(directory: Path, elsewhere: Path) -> None:
    (elsewhere / "a").write_text("theirs")
    directory.mkdir()
    for number in (1, 2, 7):
        (directory / f"..gen-{number:06d}").symlink_to(elsewhere)
    of = generations(directory)
    of.prepare()
    (directory / "..gen-000009").symlink_to(elsewhere)

    assert published(of, a="ours") == 10
    assert names_in(directory) == {"..announced", "..data", "..gen-000010", "a"}
    assert (elsewhere / "a").read_text() == "theirs"


def test_links_planted_as_temporary_names_are_not_followed(
    directory: Path, elsewhere: Path
) -> None:
    of = generations(directory)
    of.prepare()
    victim = elsewhere / "victim"
    victim.write_text("theirs")
    for name in ("..announced.new", "..data.new", "..link-0"):
        (directory / name).symlink_to(victim)
    published(of, a="1")
    of.mark_announced(1)
    assert victim.read_text() == "theirs"
    assert names_in(directory) == {"..announced", "..data", "..gen-000001", "a"}


@pytest.mark.parametrize("plant", [Path.touch, lambda path: path.symlink_to("victim")])
def test_a_file_planted_in_a_race_is_not_written_to(
    elsewhere: Path, plant: Callable[[Path], None]
) -> None:
    (elsewhere / "victim").touch()
    plant(elsewhere / "a")
    with opened(elsewhere) as root, pytest.raises(FileExistsError):
        write_file(root, "a", b"ours")
    assert {path.read_bytes() for path in elsewhere.iterdir()} == {b""}


def test_a_name_taken_in_the_midst_of_publishing_takes_the_generation_back(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = generations(directory)
    of.prepare()
    published(of, a="1")
    candidate = of.write(rendered(a="2", b="2", c="2"))
    rename = os.rename

    def beaten(source: str, target: str, **options: int) -> None:
        if target == "c":
            (directory / "c").mkdir()
        rename(source, target, **options)

    monkeypatch.setattr(os, "rename", beaten)
    with pytest.raises(PublishError):
        of.publish(candidate)
    assert of.current() == 1
    assert (directory / "a").read_text() == "1"
    of.discard(candidate)
    assert names_in(directory) == {"..announced", "..data", "..gen-000001", "a", "c"}


def test_data_that_is_not_ours_is_not_replaced(directory: Path, elsewhere: Path) -> None:
    directory.mkdir()
    (directory / "..data").symlink_to(elsewhere)
    of = generations(directory)
    of.prepare()
    assert of.current() is None
    with pytest.raises(PublishError, match=r"/\.\.data: is there already"):
        of.write(rendered(a="1"))


def test_a_generation_that_somebody_else_made_is_not_believed(directory: Path) -> None:
    needs_root()
    of = generations(directory)
    of.prepare()
    published(of, a="1")
    published(of, a="2")
    os.chown(directory / "..gen-000001", SOMEBODY, SOMEBODY)
    assert of.previous() is None
    with pytest.raises(PublishError, match="generation 1 is not there"):
        of.restore(1)


def test_a_pipe_as_marker_does_not_hold_up_the_start(directory: Path) -> None:
    directory.mkdir()
    os.mkfifo(directory / "..announced")
    of = generations(directory)
    of.prepare()
    assert of.announced() is None
    published(of, a="1")
    of.mark_announced(1)
    assert (directory / "..announced").is_file()


def test_a_marker_of_somebody_else_is_not_believed(directory: Path) -> None:
    needs_root()
    directory.mkdir()
    (directory / "..announced").write_text('{"announced": 7, "highest": 7}')
    os.chown(directory / "..announced", SOMEBODY, SOMEBODY)
    of = generations(directory)
    of.prepare()
    assert of.announced() is None


def test_folders_of_any_depth_do_not_exhaust_the_agent(directory: Path) -> None:
    of = generations(directory)
    of.prepare()
    published(of, a="1")
    here = os.open(directory / "..data", os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)

    assert of.changes(rendered(a="1")) == []
    for text in "234":
        published(of, a=text)
    assert (of.current(), of.previous()) == (4, 3)
    subprocess.run(["rm", "-rf", directory], check=True)


def test_a_link_inside_of_a_generation_is_neither_read_nor_followed_when_removed(
    directory: Path, elsewhere: Path
) -> None:
    (elsewhere / "precious").write_text("theirs")
    of = generations(directory)
    of.prepare()
    published(of, a="1")
    (directory / "..data" / "out").symlink_to(elsewhere)
    assert set(of.read(1) or {}) == {"a"}
    of.remove()
    assert (elsewhere / "precious").read_text() == "theirs"
