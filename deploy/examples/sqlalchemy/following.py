"""An SQLAlchemy engine that logs in with the credential of the moment: copy this file.

    follower = Follower(engine, Client(), "database", Path("/run/leasehold/orders"))
    threading.Thread(target=follower.run, daemon=True).start()

A new credential is tried first; then whoever takes a connection from the pool gets one of the new
user. The agent is told once nobody works with one of the old user any more.
"""

import logging
import threading
from pathlib import Path

from sqlalchemy import Engine, NullPool, create_engine, event, text
from sqlalchemy.exc import DBAPIError, DisconnectionError

from agent.client import Client, ClientError, Secret

log = logging.getLogger(__name__)
EVERY = 0.25  # how often to look at a link, in seconds
LONGEST_WORK = 20.0  # what takes longer may fail; `confirm` has to wait for longer than this
PATIENCE = 10.0  # how long a login waits for another credential


class Follower:
    """`name`: the secret; `directory`: of the bundle of the same name, which waits for our word.

    The bundle's file `version` says which version of the secret a generation stands for.
    """

    def __init__(
        self, engine: Engine, client: Client, name: str, directory: Path, proof="SELECT 1"
    ):
        self.engine, self.client, self.name = engine, client, name
        self.directory, self.proof = directory, text(proof)
        self.secret = next(client.watch(name))  # waits for an agent that is still starting
        self.busy = {}  # version by connection that somebody works with
        self.moved, self.pause = threading.Condition(), threading.Event()
        event.listen(engine, "do_connect", self.log_in)
        event.listen(engine, "checkout", self.take)
        event.listen(engine, "checkin", self.give_back)
        event.listen(engine, "handle_error", self.note_error)

    def run(self):
        """Take up each generation of the bundle as it comes."""
        taken = None
        while True:
            try:
                if (current := (self.directory / "..data").readlink()) != taken:
                    self.take_up(current)
                    taken = current
            except (ClientError, DBAPIError, OSError) as error:
                log.warning("not now: %s", error)
            self.pause.wait(EVERY)

    def take_up(self, current: Path):
        """Try the new credential, move to it, and say how that went: `confirm: {api: true}`."""
        version, error = (self.directory / current / "version").read_text(), None
        if version != self.secret.version:  # the same: the agent has gone back to what we use
            secret = self.client.get(self.name)
            if (error := self.tried(secret)) is None:
                self.move_to(secret)
            elif secret.version != version:
                return  # the next generation will be about this one
        generation = int(current.name.removeprefix("..gen-"))
        self.client.confirm(self.directory.name, generation, error)
        user = self.secret.value["username"]
        log.info("generation %d: %s", generation, error or f"in use as {user}")

    def tried(self, secret: Secret) -> str | None:
        """What is wrong with a credential. That the database is not there is not its fault."""
        url = self.engine.url.set(username=secret.value["username"])
        url = url.set(password=secret.value["password"])
        try:
            with create_engine(url, poolclass=NullPool).connect() as connection:
                connection.execute(self.proof)
        except DBAPIError as error:
            if not is_refusal(error.orig):
                raise
            return f"the new credential does not work: {type(error.orig).__name__}"
        return None

    def move_to(self, secret: Secret):
        """Return once all connections are the new user's; those that are idle are led through."""
        with self.moved:
            self.secret = secret
            self.moved.notify_all()
        for _ in range(self.engine.pool.checkedin()):
            self.engine.connect().close()
        with self.moved:
            self.moved.wait_for(lambda: {*self.busy.values()} <= {secret.version}, LONGEST_WORK)

    # --- events of the engine ---------------------------------------------------------------------

    def log_in(self, dialect, record, arguments, options):
        """The engine's own login; with another credential where this one is refused."""
        try:
            return self.connected(dialect, record, arguments, options)
        except dialect.loaded_dbapi.Error as error:
            if not is_refusal(error):
                raise
        self.another_than(record.info["version"])
        return self.connected(dialect, record, arguments, options)

    def connected(self, dialect, record, arguments, options):
        try:
            return dialect.connect(*arguments, **options | self.begin(record))
        except dialect.loaded_dbapi.Error:
            self.end(record)
            raise

    def take(self, connection, record, proxy):
        """Somebody takes it from the pool, or has just logged in."""
        with self.moved:
            if record not in self.busy and record.info["version"] != self.secret.version:
                raise DisconnectionError  # the pool logs in anew, and nobody notices
            self.busy[record] = record.info["version"]

    def give_back(self, connection, record):
        self.end(record)
        if record.info.get("version") != self.secret.version:
            record.invalidate()

    def begin(self, record):
        with self.moved:
            self.busy[record] = record.info["version"] = self.secret.version
            return login(self.secret)

    def end(self, record):
        with self.moved:
            self.busy.pop(record, None)
            self.moved.notify_all()

    def note_error(self, context):
        """Who was revoked while logged in has no rights any more."""
        if is_refusal(context.original_exception) and context.connection is not None:
            context.is_disconnect = True  # so the pool begins anew
            self.another_than(context.connection.info["version"])

    def another_than(self, version: str):
        """Say that it does not work: the agent has another one made, once for each version."""
        try:
            self.client.refused(self.name, version)
        except ClientError as problem:
            log.warning("the agent was not told: %s", problem)
        with self.moved:
            self.moved.wait_for(lambda: self.secret.version != version, PATIENCE)


def login(secret: Secret) -> dict[str, str]:
    return {"user": secret.value["username"], "password": secret.value["password"]}


def is_refusal(error: BaseException | None) -> bool:
    """Whether PostgreSQL objects to the login (it gives no code for that) or to its rights."""
    return getattr(error, "sqlstate", None) == "42501" or "authentication failed" in str(error)
