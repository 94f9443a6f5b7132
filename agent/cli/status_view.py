"""How the agent stands, as a picture for a terminal: leases as bars that run down.

What the agent says has passed through stores and vaults: nothing of it that a terminal would obey
gets through, and no markup is read in it. Without colour all of it can still be told apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from agent.core.clock import rfc3339
from agent.core.events import counted

Entry = Mapping[str, Any]

GRAVITY = ("expired", "stale", "waiting", "fresh")
"""States of a secret, what needs a look first."""
LOOKS = {
    "fresh": ("●", "green"), "stale": ("◐", "yellow"),
    "waiting": ("○", "cyan"), "expired": ("✗", "bold red"),
    "up": ("●", "green"), "logging_in": ("◐", "yellow"), "down": ("✗", "bold red"),
    "published": ("●", "green"), "notified": ("●", "green"), "confirmed": ("●", "green"),
    "failed": ("✗", "bold red"), "rolled_back": ("✗", "bold red"),
}  # fmt: skip
UNDER_WAY = ("◐", "cyan")

WIDE, NARROW = 100, 72
"""Columns from which there is room for versions; below which there is none for bars."""
MOST_VERSION = 16
BESIDES_BAR = 48
"""Columns for all cells of a secret but name, version and bar."""
LEAST_BAR, MOST_BAR = 12, 40
MOST_NAMES = 3
"""Named together where the reason is the same."""
RED_BELOW = 0.1


class Section(NamedTuple):
    """A table; the first cell of a row may be cut, the last one takes what is left."""

    header: tuple[str, ...]
    rows: Sequence[tuple[Text, ...]]


class Terms:
    """When the lease of each secret began, as far as can be seen from here.

    Where the agent does not say: a lease whose end has moved was renewed.
    """

    def __init__(self) -> None:
        self._seen: dict[str, tuple[str, float]] = {}

    def began_at(self, name: str, secret: Entry, now: float) -> float:
        """Wall time; `now` where nothing tells."""
        told = instant((secret.get("lease") or {}).get("began_at"))
        if told is not None:
            return told
        ends, before = str(secret.get("expires_at")), self._seen.get(name)
        if before is None:
            self._seen[name] = ends, instant(secret.get("read_at")) or now
        elif before[0] != ends:
            self._seen[name] = ends, now
        return self._seen[name][1]


def view(
    report: Mapping[str, Any],
    now: float,
    terms: Terms,
    *,
    width: int,
    height: int | None = None,
    gone: str | None = None,
) -> RenderableType:
    """The picture of a /status at `now` (wall time), where it can be not higher than `height`.

    `gone` is why the agent does not answer; the report is then the last that there was.
    """
    sections = [
        _secrets(report.get("secrets", {}), now, terms, width),
        _bundles(report.get("bundles", {}), now),
        _stores(report.get("stores", {}), now),
        _trouble(report),
    ]
    title = _title(report, now, gone)
    there = [each for each in sections if each.rows]
    if height is not None:
        there = fitted(there, height - len(title))
    style = "dim" if gone else ""
    tables = [_table(each, width, style, is_cut=height is not None) for each in there]
    return Group(*title, *(part for table in tables for part in (Text(), table)))


def fitted(sections: list[Section], height: int) -> list[Section]:
    """As many rows as there is room for; small sections are whole if that can be.

    The last sections are left out where there is no room for three lines of each.
    """
    sections = sections[: max(1, height // 3)]
    spare = height - 2 * len(sections)
    most: dict[int, int] = {}
    for number in sorted(range(len(sections)), key=lambda each: len(sections[each].rows)):
        share = max(1, spare // (len(sections) - len(most)))
        most[number] = min(len(sections[number].rows), share)
        spare -= most[number]
    return [_cut(each, most[number]) for number, each in enumerate(sections)]


def _cut(section: Section, most: int) -> Section:
    left_out = len(section.rows) - most + 1
    if left_out <= 1:
        return section
    more = Text(f"… and {left_out} more", style="dim")
    return section._replace(rows=[*section.rows[: most - 1], (more,)])


def bar(left: float, mark: float | None, cells: int) -> Text:
    """A bar of which `left` (0 to 1) is there yet, with a mark where something will be done."""
    full = min(cells, max(0, round(left * cells)))
    is_late = mark is not None and left < mark
    colour = "red" if left < RED_BELOW else "yellow" if is_late else "green"
    text = Text.assemble(("━" * full, colour), ("─" * (cells - full), "dim"))
    if mark is None or not cells:
        return text
    at = max(0, min(cells - 1, round(mark * cells)))
    sign = Text("╋" if at < full else "┼", style=colour)
    return text[:at] + sign + text[at + 1 :]


def in_words(seconds: float) -> str:
    """`90 s`, `5 m`, `3 h 20 m`, `2 d 4 h`."""
    whole = max(0, round(seconds))
    if whole < 120:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} m"
    size, unit, smaller, rest = (86400, "d", 3600, "h") if whole >= 86400 else (3600, "h", 60, "m")
    more = whole % size // smaller
    return f"{whole // size} {unit}" + (f" {more} {rest}" if more else "")


def instant(text: Any) -> float | None:
    """Wall time of an RFC 3339 text."""
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return None


# --- sections -------------------------------------------------------------------------------------


def _title(report: Mapping[str, Any], now: float, gone: str | None) -> list[RenderableType]:
    """The lines above all sections."""
    states = [str(each.get("state")) for each in report.get("secrets", {}).values()]
    counts = ", ".join(f"{states.count(each)} {each}" for each in GRAVITY[::-1] if each in states)
    said = Text(f"{counted(len(states), 'secret')}: {counts}" if states else "no secrets")
    if gone is not None:
        said = Text("✗ the agent does not answer; waiting for it", style="bold red")
    line = Table.grid(Column(no_wrap=True, ratio=1), Column(no_wrap=True), expand=True)
    when = Text(f"  {rfc3339(now)[11:19]} UTC", style="dim")
    line.add_row(Text("leasehold   ", style="bold") + said, when)
    if gone is None:
        return [line]
    return [line, Text(printable(gone), style="red", no_wrap=True, overflow="ellipsis")]


def _secrets(secrets: Mapping[str, Entry], now: float, terms: Terms, width: int) -> Section:
    is_wide = width >= WIDE
    names = max(map(len, secrets), default=0)
    cells = width - BESIDES_BAR - min(names, _most_name(width)) - is_wide * (MOST_VERSION + 2)
    cells = 0 if width < NARROW else min(MOST_BAR, max(LEAST_BAR, cells))
    rows = []
    for name in sorted(secrets, key=lambda each: (_gravity(secrets[each]), each)):
        secret = secrets[name]
        version = (_text(secret.get("version")),) if is_wide else ()
        lease = _lease(secret, terms.began_at(name, secret, now), now, cells)
        cells_after = (_until(secret.get("expires_at"), now), _next(secret, now))
        rows.append((_text(name), *version, _state(secret), lease, *cells_after))
    versions = ("VERSION",) if is_wide else ()
    return Section(("SECRET", *versions, "STATE", "LEASE", "ENDS IN", "NEXT"), rows)


def _most_name(width: int) -> int:
    return max(16, width // 4)


def _gravity(secret: Entry) -> int:
    state = secret.get("state")
    return GRAVITY.index(state) if state in GRAVITY else len(GRAVITY)


def _lease(secret: Entry, began_at: float, now: float, cells: int) -> Text:
    """What is left of it; of a value without an end, the time until it is read again."""
    ends_at, next_at = instant(secret.get("expires_at")), instant(secret.get("next_at"))
    if ends_at is not None:
        lasts = max(ends_at - began_at, 1.0)
        mark = None if next_at is None or next_at >= ends_at else (ends_at - next_at) / lasts
        return bar((ends_at - now) / lasts, mark, cells)
    read_at = instant(secret.get("read_at"))
    if read_at is None or next_at is None:
        return Text()
    left = (next_at - now) / max(next_at - read_at, 1.0)
    return Text("╌" * min(cells, max(0, round(left * cells))), style="dim")


def _next(secret: Entry, now: float) -> Text:
    """What the agent will do, and when: `renews in 4 m`."""
    at = instant(secret.get("next_at"))
    if at is None:
        return Text()
    lease = secret.get("lease")
    verb = "reads again"
    if secret.get("state") != "fresh":
        verb = "tries again"
    elif lease and lease.get("renewable"):
        verb = "renews"
    elif secret.get("expires_at"):
        verb = "replaces"
    return Text(f"{verb} now" if at <= now else f"{verb} in {in_words(at - now)}")


def _bundles(bundles: Mapping[str, Entry], now: float) -> Section:
    rows = [
        (
            _text(name),
            _state(bundle),
            Text(str(bundle.get("generation") or "—")),
            _ago(bundle.get("confirmed_at"), now),
        )
        for name, bundle in sorted(bundles.items())
    ]
    return Section(("BUNDLE", "STATE", "GENERATION", "CONFIRMED"), rows)


def _stores(stores: Mapping[str, Entry], now: float) -> Section:
    rows = [
        (
            _text(name),
            _state(store),
            _ago(store.get("since"), now),
            _ago(store.get("logged_in_at"), now),
            _until(store.get("token_expires_at"), now),
        )
        for name, store in sorted(stores.items())
    ]
    return Section(("STORE", "STATE", "SINCE", "LOGGED IN", "TOKEN ENDS IN"), rows)


def _trouble(report: Mapping[str, Any]) -> Section:
    """Reasons, each with those that have it."""
    having: dict[str, list[str]] = {}
    for kind in ("stores", "bundles", "secrets"):
        named = report.get(kind, {})
        for name in sorted(named, key=lambda each: (_gravity(named[each]), each)):
            if reason := named[name].get("reason"):
                step = named[name].get("step")
                having.setdefault(str(reason), []).append(f"{name} ({step})" if step else name)
    rows = [(Text(printable(f"{_listed(names)}: {why}")),) for why, names in having.items()]
    return Section(("WHY",), rows)


def _listed(names: list[str]) -> str:
    if len(names) <= MOST_NAMES + 1:
        return ", ".join(names)
    return f"{', '.join(names[:MOST_NAMES])} and {len(names) - MOST_NAMES} more"


# --- cells ----------------------------------------------------------------------------------------


def _table(section: Section, width: int, style: str, *, is_cut: bool) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, style=style, header_style="dim")
    if len(section.header) == 1:
        table.add_column(*section.header, no_wrap=is_cut, overflow="ellipsis" if is_cut else "fold")
    else:
        for header in section.header:
            most = {section.header[0]: _most_name(width), "VERSION": MOST_VERSION}.get(header)
            table.add_column(header, no_wrap=True, max_width=most)
    for row in section.rows:
        table.add_row(*row)
    return table


def _state(entry: Entry) -> Text:
    state = printable(entry.get("state"))
    sign, style = LOOKS.get(state, UNDER_WAY)
    return Text(f"{sign} {state.replace('_', ' ')}", style=style)


def _ago(at: Any, now: float) -> Text:
    wall = instant(at)
    return Text("—", style="dim") if wall is None else Text(f"{in_words(now - wall)} ago")


def _until(at: Any, now: float) -> Text:
    wall = instant(at)
    if wall is None:
        return Text("—", style="dim")
    return Text(in_words(wall - now)) if wall > now else Text("ended", style="red")


def _text(said: Any) -> Text:
    return Text(printable(said)) if said is not None else Text("—", style="dim")


def printable(said: Any) -> str:
    """On one line, and nothing that a terminal obeys."""
    return "".join(each if each.isprintable() else " " for each in str(said))
