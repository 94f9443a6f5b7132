"""`leasehold check --live`: log in, try each path, render in memory, give everything back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from msgspec.structs import replace

from agent.app.plan import demands
from agent.config.listener_model import AnyListener
from agent.config.model import AnyStore, AppRole, Audit, Cache, Configuration, VaultStore
from agent.core.clock import Clock
from agent.core.errors import AgentError
from agent.core.events import Event, LoginFailed, StoreDown
from agent.core.secret import Reading
from agent.delivery.content import load_content
from agent.file_watch import FileWatch
from agent.rendering.values import Held
from agent.stores import open_store
from agent.stores.base import ReadRequest, Store
from agent.stores.budget import Demand

LONGEST_LOGIN = 30.0
ONLY_ONCE = "not tried: a wrapped secret-id can be unwrapped only once, and the agent will need it"

Tell = Callable[[str, str | None], None]
"""(what was tried, why it failed or None)"""


class LiveCheck:
    """Tries one configuration. `is_logged_in` is False once a store let nobody in."""

    def __init__(self, configuration: Configuration, *, clock: Clock, tell: Tell) -> None:
        self._configuration, self._clock, self._tell = configuration, clock, tell
        self.is_logged_in = True

    async def run(self, environment: Mapping[str, str]) -> None:
        """Every store in turn, then every bundle whose secrets were all had."""
        readings: dict[str, Reading] = {}
        for name, demand in demands(self._configuration).items():
            spec = self._configuration.stores[name]
            if _is_used_up_by_a_login(spec):
                self._tell(f"store {name}: log in", ONLY_ONCE)
                continue
            try:
                readings |= await self._try_store(name, _untouched(spec), demand)
            except AgentError as error:
                self._tell(f"store {name}", str(error))
        held = {name: Held(reading) for name, reading in readings.items()}
        for name in self._configuration.bundles:
            await asyncio.to_thread(self._try_bundle, name, held, environment)
        if self._configuration.cache is not None:
            await asyncio.to_thread(self._try_cache, self._configuration.cache)
        if self._configuration.audit is not None:
            await asyncio.to_thread(self._try_audit, self._configuration.audit)
        for listener in self._configuration.listeners:
            await asyncio.to_thread(self._try_listener, listener)

    async def _try_store(self, name: str, spec: AnyStore, demand: Demand) -> dict[str, Reading]:
        login = _Login()
        store = await open_store(
            name,
            spec,
            demand=demand,
            clock=self._clock,
            changes=FileWatch(self._clock, login),
            emit=login,
        )
        async with asyncio.TaskGroup() as group:
            running = group.create_task(store.run(), name=f"store {name}")
            try:
                reason = await self._why_not_in(store, login)
                self.is_logged_in = self.is_logged_in and reason is None
                self._tell(f"store {name}: log in", reason)
                return {} if reason else await self._try_secrets(store)
            finally:
                await store.close()
                running.cancel()

    async def _why_not_in(self, store: Store, login: _Login) -> str | None:
        """Wait for the login, but not past the first failure."""
        unsubscribe = store.subscribe(login)
        if not store.is_ready:
            await self._clock.wait(login.news, self._clock.now() + LONGEST_LOGIN)
        unsubscribe()
        return None if store.is_ready else login.reason or "no answer in time"

    async def _try_secrets(self, store: Store) -> dict[str, Reading]:
        readings: dict[str, Reading] = {}
        for name, entry in self._configuration.secrets.items():
            if entry.store == store.name:
                try:
                    request = ReadRequest(entry.path, entry.data, entry.version)
                    readings[name] = await store.read(request)
                except AgentError as error:
                    self._tell(f"secret {name}", str(error))
                else:
                    self._tell(f"secret {name}", None)
        for name, reading in readings.items():
            await self._give_back(store, name, reading)
        return readings

    async def _give_back(self, store: Store, name: str, reading: Reading) -> None:
        if reading.lease is None:
            return
        try:
            await store.revoke(reading.lease)
        except AgentError as error:
            self._tell(f"secret {name}: revoke its lease", str(error))

    def _try_bundle(
        self, name: str, held: Mapping[str, Held], environment: Mapping[str, str]
    ) -> None:
        try:
            content = load_content(name, self._configuration.bundles[name])
            if content.secrets <= held.keys():
                content.render(held, environment)
                self._tell(f"bundle {name}", None)
        except AgentError as error:
            self._tell(f"bundle {name}", str(error))

    def _try_cache(self, spec: Cache) -> None:
        """Its key and its directory; not the file, which is the running agent's."""
        from agent.sealed.file import SealedBook

        try:
            SealedBook(spec).try_out()
        except AgentError as error:
            self._tell("cache", str(error))
        else:
            self._tell("cache", None)

    def _try_audit(self, spec: Audit) -> None:
        """Its key, where one is named, and its directory; not the file, which is the agent's."""
        from agent.audit.file import read_root_key
        from agent.audit.place import refuse_shared_directory

        try:
            if spec.key is not None:
                read_root_key(spec.key.file)
            if spec.file is not None and spec.file.parent.exists():  # else it is made
                refuse_shared_directory(spec.file)
        except AgentError as error:
            self._tell("audit", str(error))
        else:
            self._tell("audit", None)

    def _try_listener(self, spec: AnyListener) -> None:
        """Whether it could be opened; one that a running agent has stays its own."""
        from agent.api.sockets import name_of, try_out

        what = f"listener {name_of(spec)}"
        try:
            try_out(spec)
        except AgentError as error:
            self._tell(what, str(error))
        else:
            self._tell(what, None)


def _is_used_up_by_a_login(spec: AnyStore) -> bool:
    if not isinstance(spec, VaultStore) or not isinstance(spec.auth, AppRole):
        return False
    return spec.auth.secret_id_wrapped


def _untouched(spec: AnyStore) -> AnyStore:
    """The same store, but the secret-id's file is left for the agent."""
    if not isinstance(spec, VaultStore) or not isinstance(spec.auth, AppRole):
        return spec
    return replace(spec, auth=replace(spec.auth, remove_secret_id_file=False))


class _Login:
    """Hears of the login's end, good or bad."""

    def __init__(self) -> None:
        self.news = asyncio.Event()
        self.reason: str | None = None

    def __call__(self, event: Event) -> None:
        if isinstance(event, LoginFailed | StoreDown):
            self.reason = event.reason
            self.news.set()

    def look_again(self) -> None:
        self.news.set()

    def refresh(self) -> None:
        """Values are of no interest here."""
