"""A bundle's files change as one generation, in the layout of a Kubernetes volume."""

from __future__ import annotations

import os
import shutil
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agent.core.errors import PublishError
from agent.delivery.generations import Candidate, RenderedFile
from tests.rig.generations import generations, names_in, published, rendered
from tests.rig.needs import needs_root


@pytest.fixture
def directory(memory_directory: Path) -> Path:
    """Not there yet."""
    return memory_directory / "run" / "app"


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat(follow_symlinks=False).st_mode)


# --- layout -----------------------------------------------------------------------------------


def test_files_are_seen_through_links_in_the_kubernetes_layout(directory: Path) -> None:
    of = generations(directory)
    of.prepare()
    of.publish(of.write(rendered(password="one", tls__key_pem="k", tls__ca__root_pem="r")))

    assert (directory / "..data").readlink() == Path("..gen-000001")
    assert (directory / "password").readlink() == Path("..data/password")
    assert (directory / "tls").readlink() == Path("..data/tls")
    assert (directory / "password").read_text() == "one"
    assert (directory / "tls" / "ca" / "root.pem").read_text() == "r"
    assert names_in(directory) == {"..announced", "..data", "..gen-000001", "password", "tls"}


def test_a_candidate_is_complete_and_unseen(directory: Path) -> None:
    of = generations(directory)
    of.prepare()
    candidate = of.write(rendered(password="one"))

    assert candidate == Candidate(1, directory / "..gen-000001")
    assert (candidate.directory / "password").read_text() == "one"
    assert of.current() is None
    assert not os.path.lexists(directory / "password")


def test_a_change_keeps_the_generation_before_and_no_more(directory: Path) -> None:
    of = generations(directory)
    of.prepare()
    for text in ("one", "two", "three"):
        published(of, password=text)

    assert (of.current(), of.previous()) == (3, 2)
    assert (directory / "password").read_text() == "three"
    assert names_in(directory) == {
        "..announced", "..data", "..gen-000002", "..gen-000003", "password",
    }  # fmt: skip


def test_names_come_and_go_with_their_generation(directory: Path) -> None:
    of = generations(directory)
    of.prepare()
    published(of, old="1", both="1")
    published(of, both="2", new="2")

    assert not os.path.lexists(directory / "old")
    assert (directory / "both").read_text() == (directory / "new").read_text() == "2"


def test_foreign_files_beside_ours_are_left_alone(directory: Path) -> None:
    directory.mkdir(parents=True)
    (directory / "notes").write_text("theirs")
    (directory / "link").symlink_to("notes")
    of = generations(directory)
    of.prepare()
    published(of, password="one")
    published(of, other="two")

    of.remove()
    assert names_in(directory) == {"notes", "link"}


def test_a_foreign_file_in_place_of_ours_is_refused_not_replaced(directory: Path) -> None:
    directory.mkdir(parents=True)
    (directory / "password").write_text("theirs")
    of = generations(directory)
    of.prepare()

    with pytest.raises(PublishError, match=r"app: .*/password: is there already.*move it away"):
        of.write(rendered(password="ours"))
    assert (directory / "password").read_text() == "theirs"
    assert of.current() is None


def test_a_foreign_file_that_came_after_the_candidate_is_refused_too(directory: Path) -> None:
    of = generations(directory)
    of.prepare()
    published(of, user="1")
    candidate = of.write(rendered(user="2", password="2"))
    (directory / "password").write_text("theirs")

    with pytest.raises(PublishError, match="password: is there already"):
        of.publish(candidate)
    assert (directory / "user").read_text() == "1"
    assert of.current() == 1


@pytest.mark.parametrize(
    "name", ["", "/etc/x", "a/../../x", "./a", "a//b", "..data", "..x/y", "a\0"]
)
def test_names_outside_of_the_directory_or_of_the_agent_are_refused(
    directory: Path, name: str
) -> None:
    of = generations(directory)
    of.prepare()
    with pytest.raises(PublishError, match="can't be the name of a file"):
        of.write({name: RenderedFile(b"", 0o440)})


def test_a_file_and_a_folder_of_one_name_leave_nothing_behind(directory: Path) -> None:
    of = generations(directory)
    of.prepare()
    with pytest.raises(PublishError, match="tls/key"):
        of.write(rendered(tls="a", tls__key="b"))
    assert names_in(directory) == {"..announced"}


# --- owners and modes -------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_modes_are_as_configured_whatever_the_umask(directory: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        of = generations(directory, directory_mode=0o2755)
        of.prepare()
        of.publish(
            of.write({"a": RenderedFile(b"", 0o666), "tls/key": RenderedFile(b"", 0o400)}),
        )
    finally:
        os.umask(before)

    assert _mode(directory.parent) == 0o755
    data = directory / "..data"
    assert [_mode(each) for each in (directory, data.resolve(), data / "tls")] == [0o2755] * 3
    assert (_mode(data / "a"), _mode(data / "tls" / "key")) == (0o666, 0o400)


def test_owners_are_as_configured(directory: Path) -> None:
    needs_root()
    of = generations(directory, uid=10001, gid=10002)
    of.prepare()
    files = {"a": RenderedFile(b"", 0o440, 10001, 10002), "t/b": RenderedFile(b"", 0o440, 0, 10003)}
    of.publish(of.write(files))

    def owner(path: Path) -> tuple[int, int]:
        status = path.stat()
        return status.st_uid, status.st_gid

    data = directory / "..data"
    assert {owner(each) for each in (directory, data, data / "t")} == {(10001, 10002)}
    assert owner(data / "a") == (10001, 10002)
    assert owner(data / "t" / "b") == (0, 10003)
    assert owner(directory.parent) == (0, 0)
    assert owner(directory / "..announced") == (0, 0) and _mode(directory / "..announced") == 0o600


def test_content_owner_and_mode_are_set_before_the_name_is_seen(directory: Path) -> None:
    of = generations(directory)
    of.prepare()
    candidate = of.write(rendered(password="one"))
    before = (candidate.directory / "password").stat()
    of.publish(candidate)
    after = (directory / "password").stat()
    assert (before.st_ino, before.st_ctime_ns) == (after.st_ino, after.st_ctime_ns)


def test_an_existing_directory_keeps_its_mode(directory: Path) -> None:
    directory.mkdir(mode=0o711, parents=True)
    directory.chmod(0o711)
    of = generations(directory, directory_mode=0o750)
    of.prepare()
    published(of, password="one")
    assert _mode(directory) == 0o711
    assert _mode((directory / "..data").resolve()) == 0o750


def test_a_directory_of_the_agents_own_follows_the_configuration(directory: Path) -> None:
    generations(directory, directory_mode=0o750).prepare()
    generations(directory, directory_mode=0o755).prepare()
    assert _mode(directory) == 0o755


def test_a_group_that_the_directory_hands_down_is_kept(directory: Path) -> None:
    needs_root()
    directory.mkdir(parents=True)
    os.chown(directory, 0, 10002)
    directory.chmod(0o2770)
    of = generations(directory)
    of.prepare()
    published(of, password="one")
    assert (directory / "password").stat().st_gid == 10002
    assert of.changes(rendered(password="one")) == []


# --- what is held -----------------------------------------------------------------------------


def test_a_generation_is_read_as_it_is(directory: Path) -> None:
    of = generations(directory)
    of.prepare()
    number = published(of, password="one", tls__key="k")
    assert of.read(number) == {
        "password": RenderedFile(b"one", 0o440, os.geteuid(), os.getegid()),
        "tls/key": RenderedFile(b"k", 0o440, os.geteuid(), os.getegid()),
    }
    assert of.read(number + 1) is None


def test_what_differs_is_named(directory: Path) -> None:
    of = generations(directory)
    assert of.changes(rendered(a="1")) == ["a"]
    of.prepare()
    published(of, a="1", b="1", c="1")
    files = rendered(a="1", b="2", d="1") | {"c": RenderedFile(b"1", 0o400)}
    assert of.changes(files) == ["b", "c", "d"]
    assert of.changes(rendered(a="1", b="1")) == ["c"]
    assert of.changes(rendered(a="1", b="1", c="1")) == []


def test_what_somebody_changed_by_hand_differs(directory: Path) -> None:
    of = generations(directory)
    of.prepare()
    published(of, a="1", b="1")
    (directory / "..data" / "a").unlink()
    os.mkfifo(directory / "..data" / "a")
    (directory / "..data" / "b").chmod(0o444)
    assert of.changes(rendered(a="1", b="1")) == ["a", "b"]


def test_content_is_not_in_a_repr() -> None:
    assert "hunter2" not in repr(RenderedFile(b"hunter2", 0o440))
    assert "hunter2" not in str({"password": RenderedFile(b"hunter2", 0o440)})


# --- numbers ----------------------------------------------------------------------------------


def test_numbers_survive_a_restart(directory: Path) -> None:
    first = generations(directory)
    first.prepare()
    published(first, a="1")
    published(first, a="2")

    second = generations(directory)
    second.prepare()
    assert (second.current(), second.previous()) == (2, 1)
    assert published(second, a="3") == 3


def test_no_number_comes_twice_after_a_candidate_was_discarded(directory: Path) -> None:
    of = generations(directory)
    of.prepare()
    of.discard(of.write(rendered(a="1")))
    again = generations(directory)
    again.prepare()
    assert again.write(rendered(a="2")).number == 2


def test_no_number_comes_twice_after_a_roll_back(directory: Path) -> None:
    of = generations(directory)
    of.prepare()
    published(of, a="1")
    published(of, a="2")
    of.restore(1)
    of.mark_announced(1)

    again = generations(directory)
    again.prepare()
    assert (again.current(), again.announced()) == (1, 1)
    assert published(again, a="3") == 3


def test_a_new_candidate_takes_the_place_of_one_that_came_to_nothing(directory: Path) -> None:
    of = generations(directory)
    of.prepare()
    published(of, a="1")
    left = of.write(rendered(a="2"))
    published(of, a="3")
    assert (of.current(), of.previous()) == (3, 1)
    with pytest.raises(PublishError, match="generation 2 is an old one"):
        of.publish(left)


def test_the_announced_generation_survives_a_restart(directory: Path) -> None:
    of = generations(directory)
    of.prepare()
    published(of, a="1")
    assert of.announced() is None
    of.mark_announced(1)
    published(of, a="2")

    again = generations(directory)
    again.prepare()
    assert (again.current(), again.announced()) == (2, 1)


def test_a_spoilt_marker_counts_as_none(directory: Path) -> None:
    of = generations(directory)
    of.prepare()
    published(of, a="1")
    of.mark_announced(1)
    (directory / "..announced").write_bytes(b'{"announced": "\xff')
    again = generations(directory)
    again.prepare()
    assert again.announced() is None
    assert published(again, a="2") == 2


# --- taking back and away ---------------------------------------------------------------------


def test_a_previous_generation_is_put_back_with_its_names(directory: Path) -> None:
    of = generations(directory)
    of.prepare()
    published(of, user="1", password="1")
    published(of, user="2", token="2")
    of.restore(1)

    assert (directory / "user").read_text() == (directory / "password").read_text() == "1"
    assert names_in(directory) == {"..announced", "..data", "..gen-000001", "user", "password"}
    assert (of.current(), of.previous()) == (1, None)


def test_what_is_not_there_is_not_restored(directory: Path) -> None:
    of = generations(directory)
    of.prepare()
    for text in "123":
        published(of, a=text)
    with pytest.raises(PublishError, match="generation 1 is not there any more"):
        of.restore(1)
    assert of.current() == 3


def test_a_discarded_candidate_is_gone_and_the_one_in_use_is_not(directory: Path) -> None:
    of = generations(directory)
    of.prepare()
    used = of.write(rendered(a="1"))
    of.publish(used)
    candidate = of.write(rendered(a="2"))
    of.discard(candidate)
    of.discard(candidate)

    assert not candidate.directory.exists()
    of.discard(used)
    assert (directory / "a").read_text() == "1"


def test_publishing_twice_changes_nothing(directory: Path) -> None:
    of = generations(directory)
    of.prepare()
    published(of, a="1")
    candidate = of.write(rendered(a="2"))
    of.publish(candidate)
    swapped_at = (directory / "..data").lstat().st_ino
    of.publish(candidate)
    assert (directory / "..data").lstat().st_ino == swapped_at
    assert (of.current(), of.previous()) == (2, 1)


def test_a_start_does_not_wake_whoever_watches_the_link(directory: Path) -> None:
    of = generations(directory)
    of.prepare()
    published(of, a="1")
    before = {name: (directory / name).lstat().st_ino for name in names_in(directory)}
    generations(directory).prepare()
    assert {name: (directory / name).lstat().st_ino for name in names_in(directory)} == before


def test_removal_takes_the_directory_that_the_agent_made(directory: Path) -> None:
    of = generations(directory)
    of.prepare()
    published(of, a="1", tls__key="1")
    later = generations(directory)
    later.remove()
    later.remove()
    assert not directory.exists()
    assert directory.parent.exists()


def test_removal_leaves_a_directory_that_was_there_before(directory: Path) -> None:
    directory.mkdir(parents=True)
    of = generations(directory)
    of.prepare()
    published(of, a="1")
    of.remove()
    assert names_in(directory) == set()


def test_folders_without_write_permission_are_no_hindrance(directory: Path) -> None:
    of = generations(directory, directory_mode=0o550)
    of.prepare()
    for text in "123":
        published(of, tls__key=text)
    assert (of.current(), of.previous()) == (3, 2)
    of.remove()
    assert not directory.exists()


# --- where ------------------------------------------------------------------------------------


def test_a_directory_that_is_not_memory_is_refused_and_not_made() -> None:
    directory = Path("/proc/leasehold")
    with pytest.raises(
        PublishError, match=r"/proc/leasehold: is on proc, not in memory.*allow_disk"
    ):
        generations(directory).prepare()


def test_a_disk_is_used_when_the_configuration_says_so(tmp_path: Path) -> None:
    of = generations(tmp_path / "app", allow_disk=True)
    of.prepare()
    published(of, a="1", tls__key="1")
    published(of, a="2", tls__key="2")
    of.restore(1)
    of.mark_announced(1)
    assert (tmp_path / "app" / "tls" / "key").read_text() == "1"


def test_a_directory_that_was_deleted_is_made_again_and_numbers_go_on(directory: Path) -> None:
    of = generations(directory)
    of.prepare()
    published(of, a="1")
    published(of, a="2")
    of.mark_announced(2)
    shutil.rmtree(directory.parent)
    assert (of.current(), of.previous(), of.read(2)) == (None, None, None)

    assert published(of, a="3") == 3
    again = generations(directory)
    again.prepare()
    assert (again.current(), again.announced()) == (3, 2)


def test_bundles_that_start_at_once_share_new_parents(memory_directory: Path) -> None:
    def start(index: int) -> int:
        of = generations(memory_directory / "run" / "leasehold" / f"bundle-{index}")
        of.prepare()
        return published(of, a=str(index))

    with ThreadPoolExecutor(16) as threads:
        assert list(threads.map(start, range(64))) == [1] * 64
    names = {f"bundle-{index}" for index in range(64)}
    assert names_in(memory_directory / "run" / "leasehold") == names


def test_what_is_taken_from_around_a_generation_is_missed_and_mended(directory: Path) -> None:
    of = generations(directory)
    of.prepare()
    number = published(of, a="1", b="1")
    assert of.stands(number, "ab")
    assert not of.stands(number + 1, "ab")
    assert not of.stands(number, "abc")
    (directory / "a").unlink()
    directory.chmod(0o755)
    before = (directory / "..data").lstat()
    assert not of.stands(number, "ab")
    of.mend()
    assert of.stands(number, "ab")
    assert (directory / "a").read_text() == "1"
    assert directory.stat().st_mode & 0o777 == 0o750
    assert (directory / "..data").lstat() == before
