"""Owners by name or number."""

from __future__ import annotations

import pytest

from agent.core.errors import DeliveryError
from agent.delivery.generations.ownership import gid_of, uid_of


def test_names_are_looked_up() -> None:
    assert uid_of("root") == 0
    assert gid_of("root") == 0


def test_numbers_need_not_exist() -> None:
    assert uid_of("10001") == 10001
    assert gid_of("4294967294") == 4294967294


def test_nothing_stays_nothing() -> None:
    assert uid_of(None) is None
    assert gid_of(None) is None


@pytest.mark.parametrize("name", ["no-such-user-here", "", "-1", "1e3", "a\0b", "١٢"])
def test_an_unknown_name_is_named(name: str) -> None:
    with pytest.raises(DeliveryError, match=r"^user .*does not exist on this host"):
        uid_of(name)
    with pytest.raises(DeliveryError, match=r"^group .*does not exist on this host"):
        gid_of(name)


@pytest.mark.parametrize("number", ["4294967295", "99999999999", "9" * 5000])
def test_a_number_out_of_range_says_the_range(number: str) -> None:
    with pytest.raises(DeliveryError, match="must be 0 to 4294967294"):
        uid_of(number)
