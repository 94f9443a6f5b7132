"""What one run writes, the next one reads: as it was, in its own time, only where it belongs."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import pytest
from msgspec.structs import replace

from agent.config.model import Cache, CacheKey, LocalKey
from agent.core.errors import ConfigurationError, SealedFileError
from agent.sealed.file import SealedBook
from agent.sealed.host import Host
from tests.rig.kept import HOST, NOW, VALUE, WALL, book, key_file, opened
from tests.rig.needs import needs_root

REBOOTED = replace(HOST, boot="boot-2")


def refusal(directory: Path, *, now: float = NOW, wall: float = WALL, **options: object) -> str:
    """Why a load is refused; the file has been set aside, and the next start has none."""
    file = opened(directory, **options)  # type: ignore[arg-type]
    with pytest.raises(SealedFileError) as caught:
        file.load(now, wall)
    file.close()
    assert VALUE not in str(caught.value)
    return str(caught.value)


def written(directory: Path, times: int = 1, **options: object) -> None:
    file = opened(directory, **options)  # type: ignore[arg-type]
    for number in range(times):
        file.save(book(now=NOW + number, wall=WALL + number))
    file.close()


def test_there_is_none_before_the_first(tmp_path: Path) -> None:
    assert opened(tmp_path).load(NOW, WALL) is None


def test_a_book_comes_back_as_it_was_within_one_boot(tmp_path: Path) -> None:
    written(tmp_path)
    loaded = opened(tmp_path).load(NOW + 60, WALL - 9999)
    assert loaded == replace(book(), host=HOST.id, boot=HOST.boot)


def test_only_the_owner_may_read_it_and_no_value_is_in_it(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        written(tmp_path)
    finally:
        os.umask(old)
    for name in ("cache", "cache.head", "cache.lock"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
        assert VALUE.encode() not in (tmp_path / name).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "cache", "cache.head", "cache.lock", "key",
    ]  # fmt: skip


def test_after_a_boot_instants_are_moved_by_the_wall_time_that_passed(tmp_path: Path) -> None:
    written(tmp_path)
    loaded = opened(tmp_path, host=REBOOTED).load(20.0, WALL + 600)
    assert loaded is not None and loaded.now == 20.0 - 600
    current = loaded.secrets["database"].current
    assert current is not None and current.lease is not None
    before = book().secrets["database"].current
    assert before is not None and before.lease is not None
    # What was left of the lease at the writing, less the ten minutes.
    left = before.lease.term.ends_at - NOW - 600
    assert current.lease.term.ends_at - 20.0 == pytest.approx(left)


def test_a_clock_that_stands_before_the_writing_can_tell_nothing(tmp_path: Path) -> None:
    written(tmp_path)
    said = refusal(tmp_path, host=REBOOTED, now=20.0, wall=WALL - 1)
    assert "its clock stands at" in said and "nobody can tell what has expired" in said


def test_a_clock_since_boot_that_went_back_is_another_boot(tmp_path: Path) -> None:
    """A clone, or a container with a clock of its own."""
    written(tmp_path)
    loaded = opened(tmp_path).load(NOW - 100, WALL + 50)
    assert loaded is not None and loaded.now == NOW - 150


def test_without_a_boot_id_no_two_boots_are_the_same(tmp_path: Path) -> None:
    unknown = Host(HOST.id, "")
    written(tmp_path, host=unknown)
    loaded = opened(tmp_path, host=unknown).load(NOW + 5, WALL + 600)
    assert loaded is not None and loaded.now == NOW + 5 - 600


@pytest.mark.parametrize(("host", "now", "wall"), [(HOST, 3601, 0), (REBOOTED, -4000, 3601)])
def test_an_old_book_is_refused(tmp_path: Path, host: Host, now: float, wall: float) -> None:
    written(tmp_path)
    said = refusal(tmp_path, host=host, now=NOW + now, wall=WALL + wall, max_age=3600.0)
    assert "is 60 min old, and max_age is 60 min" in said


def test_a_book_of_another_host_is_refused_and_kept(tmp_path: Path) -> None:
    written(tmp_path)
    content = (tmp_path / "cache").read_bytes()
    said = refusal(tmp_path, host=Host("host-b", HOST.boot))
    assert "is of another host" in said and f"set aside as {tmp_path}/cache.refused" in said
    assert (tmp_path / "cache.refused").read_bytes() == content
    assert not (tmp_path / "cache").exists()
    assert opened(tmp_path).load(NOW, WALL) is None


def test_after_a_refusal_a_new_line_begins(tmp_path: Path) -> None:
    written(tmp_path, times=3)
    old = (tmp_path / "cache").read_bytes()
    file = opened(tmp_path, host=Host("host-b", "boot-1"))
    with pytest.raises(SealedFileError):
        file.load(NOW, WALL)
    for number in range(3):
        file.save(book("another", now=NOW + number))
    file.close()
    (tmp_path / "cache").write_bytes(old)
    assert "does not belong to" in refusal(tmp_path)


def test_a_refused_file_takes_the_place_of_an_older_one(tmp_path: Path) -> None:
    for content in (b"one", b"two"):
        (tmp_path / "cache").write_bytes(content)
        (tmp_path / "cache").chmod(0o600)
        refusal(tmp_path)
    assert (tmp_path / "cache.refused").read_bytes() == b"two"


def test_a_book_older_than_one_written_is_not_written(tmp_path: Path) -> None:
    file = opened(tmp_path)
    file.save(book("newer", now=NOW + 1))
    file.save(book("older", now=NOW))
    loaded = file.load(NOW + 1, WALL)
    assert loaded is not None and loaded.now == NOW + 1


# --- keys -------------------------------------------------------------------------------------


def test_another_key_opens_nothing(tmp_path: Path) -> None:
    written(tmp_path)
    assert "wrong key" in refusal(tmp_path, key=key_file(tmp_path, "other", "b"))


def test_a_key_is_rotated_twice(tmp_path: Path) -> None:
    keys = [key_file(tmp_path, name, name) for name in ("a", "b", "c")]
    written(tmp_path, key=keys[0])
    for old, new in pairwise(keys):
        file = opened(tmp_path, key=new, previous=old)
        assert file.load(NOW, WALL) is not None
        file.save(book())
        file.close()
        file = opened(tmp_path, key=new)
        assert file.load(NOW, WALL) is not None
        file.close()
    assert "neither the key nor the previous one" in refusal(
        tmp_path, key=keys[0], previous=keys[1]
    )


def test_a_rotation_killed_between_file_and_head_is_a_rotation(tmp_path: Path) -> None:
    old, new = key_file(tmp_path, "a", "a"), key_file(tmp_path, "b", "b")
    written(tmp_path, key=old, times=2)
    head = (tmp_path / "cache.head").read_bytes()
    file = opened(tmp_path, key=new, previous=old)
    file.load(NOW + 2, WALL)
    file.save(book(now=NOW + 2))
    file.close()
    (tmp_path / "cache.head").write_bytes(head)
    assert opened(tmp_path, key=new, previous=old).load(NOW + 2, WALL) is not None


def test_a_passphrase_gives_way_to_a_key_file_and_comes_back(tmp_path: Path) -> None:
    phrase, key = tmp_path / "phrase", key_file(tmp_path)
    phrase.write_text("correct horse\n")
    phrase.chmod(0o600)
    by_phrase, by_key = LocalKey(passphrase_file=phrase), LocalKey(file=key)
    steps = [
        CacheKey(passphrase_file=phrase),
        CacheKey(file=key, previous=by_phrase),
        CacheKey(passphrase_file=phrase, previous=by_key),
        CacheKey(passphrase_file=phrase),
    ]
    for number, spec in enumerate(steps):
        file = SealedBook(Cache(file=tmp_path / "cache", key=spec), host=HOST)
        file.open()
        assert (file.load(NOW + number, WALL) is None) is (number == 0)
        file.save(book(now=NOW + number))
        file.save(book(now=NOW + number))
        file.close()


@pytest.mark.parametrize("mode", [0o640, 0o644, 0o666])
def test_a_key_that_others_may_read_is_a_mistake_in_the_configuration(
    tmp_path: Path, mode: int
) -> None:
    key_file(tmp_path).chmod(mode)
    with pytest.raises(ConfigurationError, match=f"cache.key: .*key: mode {mode:04o} lets others"):
        opened(tmp_path)


def test_a_missing_key_is_named_also_the_previous_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cache\.key: .*/none: can't be read: No such"):
        opened(tmp_path, key=tmp_path / "none")
    with pytest.raises(ConfigurationError, match=r"cache\.key\.previous: .*/none: can't be read"):
        opened(tmp_path, previous=tmp_path / "none")


# --- who else may touch it --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cache", "cache.head"])
@pytest.mark.parametrize("mode", [0o644, 0o660, 0o606])
def test_a_file_that_others_may_touch_is_refused(tmp_path: Path, name: str, mode: int) -> None:
    written(tmp_path)
    (tmp_path / name).chmod(mode)
    assert f"mode {mode:04o} lets others in" in refusal(tmp_path)
    assert (tmp_path / f"{name}.refused").stat().st_mode & 0o777 == mode


def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    needs_root()
    written(tmp_path)
    os.chown(tmp_path / "cache", 12345, -1)
    assert "owned by user 12345" in refusal(tmp_path)


@pytest.mark.parametrize("name", ["cache", "cache.head"])
def test_a_link_is_not_followed(tmp_path: Path, name: str) -> None:
    written(tmp_path)
    target = (tmp_path / name).rename(tmp_path / "elsewhere")
    content = target.read_bytes()
    (tmp_path / name).symlink_to(target)
    assert "is a link" in refusal(tmp_path)
    assert (tmp_path / f"{name}.refused").is_symlink()
    written(tmp_path)
    assert target.read_bytes() == content


def test_a_link_that_appears_while_in_use_is_not_written_through(tmp_path: Path) -> None:
    file = opened(tmp_path)
    target = tmp_path / "elsewhere"
    target.write_bytes(b"x")
    (tmp_path / "cache").symlink_to(target)
    with pytest.raises(SealedFileError, match="is a link"):
        file.save(book())
    assert target.read_bytes() == b"x"


def test_a_pipe_keeps_nobody_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "cache", 0o600)
    assert "is not a regular file" in refusal(tmp_path)


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o720, 0o702])
def test_a_directory_where_others_may_write_is_not_used(tmp_path: Path, mode: int) -> None:
    written(tmp_path)
    tmp_path.chmod(mode)
    file = opened(tmp_path)
    with pytest.raises(SealedFileError, match=f"mode {mode:04o} lets others write there"):
        file.load(NOW, WALL)
    with pytest.raises(SealedFileError, match="lets others write there"):
        file.save(book())
    assert (tmp_path / "cache").exists()


def test_the_directory_of_the_head_is_looked_at_too(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    written(tmp_path, head=elsewhere / "head")
    elsewhere.chmod(0o777)
    with pytest.raises(SealedFileError, match="elsewhere: mode 0777"):
        opened(tmp_path, head=elsewhere / "head").load(NOW, WALL)


def test_its_directory_is_made_for_nobody_else(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)  # as an emptyDir is
    written(tmp_path / "leasehold", key=key_file(tmp_path))
    assert (tmp_path / "leasehold").stat().st_mode & 0o7777 == 0o700


def test_without_a_place_for_it_there_is_no_book_and_no_writing(tmp_path: Path) -> None:
    key, place = key_file(tmp_path), tmp_path / "not" / "mounted"
    file = opened(place, key=key)
    assert file.load(NOW, WALL) is None
    with pytest.raises(SealedFileError, match="can't be written: No such file or directory"):
        file.save(book())
    place.mkdir(parents=True)
    file.save(book())
    assert file.load(NOW, WALL) is not None
    with pytest.raises(SealedFileError, match="used by another agent"):
        opened(place, key=key)


# --- one agent at a time ----------------------------------------------------------------------


def test_a_second_agent_is_told_who_holds_the_cache(tmp_path: Path) -> None:
    first = opened(tmp_path)
    with pytest.raises(SealedFileError) as caught:
        opened(tmp_path)
    assert f"cache: this cache is used by another agent (process {os.getpid()})" in str(
        caught.value
    )
    assert caught.value.exit_code == 1
    first.close()
    opened(tmp_path).close()


def test_a_lock_that_is_a_link_makes_nothing_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "cache.lock").symlink_to(tmp_path / "made")
    opened(tmp_path).close()
    assert not (tmp_path / "made").exists()


def test_a_lock_that_was_deleted_is_made_again(tmp_path: Path) -> None:
    file = opened(tmp_path)
    (tmp_path / "cache.lock").unlink()
    file.save(book())
    with pytest.raises(SealedFileError, match="used by another agent"):
        opened(tmp_path)
