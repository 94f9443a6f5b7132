"""One agent at a time works in a directory."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from agent.core.errors import PublishError
from agent.delivery.generations import Claim
from tests.rig.descriptors import open_descriptors


def test_the_second_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    before = open_descriptors()
    with Claim("other", tmp_path) as second:
        with Claim("app", tmp_path) as first:
            first.hold()
            first.hold()
            with pytest.raises(PublishError, match=r"other: .* is used by another agent; end that"):
                second.hold()
        second.hold()
    assert open_descriptors() == before


def test_a_directory_that_was_made_anew_is_claimed_anew(tmp_path: Path) -> None:
    directory = tmp_path / "app"
    with Claim("app", directory) as first, Claim("app", directory) as second:
        first.hold()
        directory.mkdir()
        first.hold()
        directory.rename(tmp_path / "aside")
        directory.mkdir()
        first.hold()
        with pytest.raises(PublishError):
            second.hold()


def test_a_claim_takes_no_descriptor_that_work_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (4, 4))
    before = open_descriptors()
    Claim("app", tmp_path).hold()
    assert open_descriptors() == before
