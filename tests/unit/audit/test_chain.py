"""Whatever is done to the records by somebody without the key is found."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.audit.chain import parse
from agent.audit.verify import Verdict
from agent.config.model import Audit as Spec
from agent.config.model import AuditKey
from tests.rig.audited import spec_of, verdict_on, written


@contextmanager
def copied(source: Path) -> Iterator[Spec]:
    """A copy of an audit, to do mischief to."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        shutil.copytree(source, folder, dirs_exist_ok=True)
        yield spec_of(Path(folder))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs over three files."""
    folder = tmp_path_factory.mktemp("audit")
    folder.chmod(0o700)
    written(spec_of(folder, max_size=4096), [[3, 3, 3], [1, 4, 4, 2], [3]])
    assert len(files(spec_of(folder))) == 3
    return folder


def files(spec: Spec) -> list[Path]:
    assert spec.file is not None
    names = [each for each in spec.file.parent.iterdir() if each.suffix not in (".head", ".key")]
    return sorted(names, reverse=True)


def lines_of(spec: Spec) -> list[list[bytes]]:
    return [each.read_bytes().splitlines(keepends=True) for each in files(spec)]


def put(spec: Spec, lines: list[list[bytes]]) -> None:
    for path, each in zip(files(spec), lines, strict=True):
        path.write_bytes(b"".join(each))


def test_what_was_written_is_good(source: Path) -> None:
    with copied(source) as spec:
        verdict = verdict_on(spec)
        assert verdict == Verdict(
            verdict.records, 1, verdict.records, verdict.first_at, verdict.last_at
        )
        assert verdict.records > 20 and verdict.first_at and verdict.last_at


@given(data=st.data())
def test_any_removal_is_found(source: Path, data: st.DataObject) -> None:
    with copied(source) as spec:
        lines = lines_of(spec)
        file = data.draw(st.sampled_from(lines))
        start = data.draw(st.integers(0, len(file) - 1))
        end = data.draw(st.integers(start + 1, len(file)))
        gone = [parse(each[:-1]).seq for each in file[start:end]]
        del file[start:end]
        put(spec, lines)
        verdict = verdict_on(spec)
        told = f"{gone[0]} to {gone[-1]} are" if len(gone) > 1 else f"{gone[0]} is"
        assert any(told in each and "missing" in each for each in verdict.problems)
        assert len(verdict.problems) <= 2


@given(data=st.data())
def test_any_changed_byte_is_found(source: Path, data: st.DataObject) -> None:
    with copied(source) as spec:
        path = data.draw(st.sampled_from(files(spec)))
        content = bytearray(path.read_bytes())
        index = data.draw(st.integers(0, len(content) - 1))
        content[index] ^= data.draw(st.integers(1, 255))
        path.write_bytes(content)
        assert not verdict_on(spec).is_good


@given(data=st.data())
def test_a_changed_record_is_named_and_no_other(source: Path, data: st.DataObject) -> None:
    with copied(source) as spec:
        lines = lines_of(spec)
        file = data.draw(st.sampled_from(lines))
        index = data.draw(st.integers(0, len(file) - 1))
        seq = parse(file[index][:-1]).seq
        file[index] = file[index].replace(b'"at":"20', b'"at":"19')
        put(spec, lines)
        problems = verdict_on(spec).problems
        assert f"record {seq} was changed" in problems[0] and len(problems) == 1


@given(data=st.data())
def test_any_exchange_of_two_is_found(source: Path, data: st.DataObject) -> None:
    with copied(source) as spec:
        lines = lines_of(spec)
        places = [(n, i) for n, each in enumerate(lines) for i in range(len(each))]
        first, second = data.draw(
            st.lists(st.sampled_from(places), min_size=2, max_size=2, unique=True)
        )
        one, other = lines[first[0]][first[1]], lines[second[0]][second[1]]
        lines[first[0]][first[1]], lines[second[0]][second[1]] = other, one
        put(spec, lines)
        assert not verdict_on(spec).is_good


@given(data=st.data())
def test_any_insertion_is_found(source: Path, data: st.DataObject) -> None:
    with copied(source) as spec:
        lines = lines_of(spec)
        every = [line for each in lines for line in each]
        forged = every[5].replace(b"database", b"web")
        line = data.draw(st.sampled_from([*every, forged, b"\n", b"{}\n", b"\xff\0\n"]))
        file = data.draw(st.sampled_from(lines))
        file.insert(data.draw(st.integers(0, len(file))), line)
        put(spec, lines)
        assert not verdict_on(spec).is_good


@given(data=st.data())
def test_any_cut_at_the_end_is_found(source: Path, data: st.DataObject) -> None:
    with copied(source) as spec:
        newest = files(spec)[-1]
        content = newest.read_bytes()
        length = data.draw(st.integers(0, len(content) - 1))
        newest.write_bytes(content[:length])
        last = sum(len(each) for each in lines_of(spec))
        assert any("cut off at the end" in each for each in verdict_on(spec).problems), last


@given(st.data())
def test_nothing_at_all_stops_the_check(source: Path, data: st.DataObject) -> None:
    with copied(source) as spec:
        path = data.draw(st.sampled_from(files(spec)))
        lines = path.read_bytes().splitlines(keepends=True)
        odd = st.one_of(st.binary(max_size=200), st.sampled_from([b"[" * 9000, b'{"seq":true}']))
        lines[data.draw(st.integers(0, len(lines) - 1))] = data.draw(odd) + b"\n"
        path.write_bytes(b"".join(lines))
        assert not verdict_on(spec).is_good


def test_a_whole_file_that_is_gone_is_found(source: Path) -> None:
    for index in range(len(lines_of(spec_of(source)))):
        with copied(source) as spec:
            files(spec)[index].unlink()
            assert any("missing" in each for each in verdict_on(spec).problems)


def test_another_key_is_told(source: Path) -> None:
    with copied(source) as spec:
        assert spec.file is not None
        other = spec.file.with_name("audit.jsonl.key")
        other.write_text("ab" * 32)
        problems = verdict_on(spec).problems
        assert problems == ["no record is proven: the key is not theirs, or all were changed"]


def test_a_head_that_is_gone_or_older_or_changed_is_told(source: Path) -> None:
    with copied(source) as spec:
        assert spec.file is not None
        head = spec.file.with_name("audit.jsonl.head")
        content = head.read_bytes()
        head.write_bytes(content.replace(b'"first_seq":1', b'"first_seq":9'))
        assert "was changed" in verdict_on(spec).problems[0]
        head.write_bytes(content[:20])
        assert "is damaged" in verdict_on(spec).problems[0]
        head.unlink()
        assert "head is missing" in verdict_on(spec).problems[0]


def test_a_forger_without_the_key_makes_no_line(source: Path) -> None:
    with copied(source) as spec:
        other = Path(spec.file.parent if spec.file else "") / "other"
        other.mkdir(mode=0o700)
        key = other / "key"
        key.write_text("cd" * 32)
        key.chmod(0o600)
        forged = spec_of(other, key=AuditKey(file=key))
        written(forged, [[2]])
        newest = files(spec)[-1]
        line = (other / "audit.jsonl").read_bytes().splitlines(keepends=True)[-1]
        last = parse(newest.read_bytes().splitlines()[-1])
        fields = {**msgspec.json.decode(line), "seq": last.seq + 1}
        newest.write_bytes(newest.read_bytes() + msgspec.json.encode(fields) + b"\n")
        assert not verdict_on(spec).is_good
