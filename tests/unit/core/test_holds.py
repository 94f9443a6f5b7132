"""Who holds what: against the plainest account of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.core.holds import Holds

consumers, names = st.sampled_from(["bundle", "process", "guest"]), st.sampled_from(["db", "web"])
revisions = st.dictionaries(names, st.frozensets(st.integers(1, 4)))


@given(st.lists(st.tuples(consumers, st.none() | revisions)))
def test_each_consumer_holds_what_it_last_said(
    said: list[tuple[str, dict[str, frozenset[int]] | None]],
) -> None:
    holds, plain = Holds(), dict[str, dict[str, frozenset[int]]]()
    for consumer, held in said:
        if held is None and consumer in plain:
            holds.remove(consumer)
            del plain[consumer]
        elif held is not None:
            holds.put(consumer, held, is_guest=consumer == "guest")
            plain[consumer] = held
    for name in ("db", "web"):
        by_all = [each.get(name, frozenset()) for each in plain.values()]
        judged = [each.get(name, frozenset()) for who, each in plain.items() if who != "guest"]
        assert holds.held(name) == frozenset().union(*by_all)
        assert holds.held(name, by_guests=False) == frozenset().union(*judged)
