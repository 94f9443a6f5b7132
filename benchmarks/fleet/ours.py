"""This agent, as events. When a secret or token is due is decided by the agent's own functions.

Real: `core.lease` (due, made up after an absence, not before), `core.backoff`, `watcher.pauses`,
and the constants of `stores`. Replayed: the order of things in `stores.availability` (`looking`),
`stores.budget` (`pace`) and `stores.vault.auto_auth` (here); `real` runs those themselves.
"""

from __future__ import annotations

from collections.abc import Iterable

from agent.core.backoff import Backoff
from agent.core.errors import Outage
from agent.core.lease import Absence, Lease, Policy, Term, due
from agent.stores.budget import Priority
from agent.stores.vault.login import LONGEST_PAUSE_WITHOUT_ANSWER
from agent.stores.vault.token import LONGEST_PAUSE as LONGEST_TOKEN_PAUSE
from agent.watcher.pauses import longest_pause
from benchmarks.fleet.load import KINDS, MIX, Kind, Origin, Wanted
from benchmarks.fleet.looking import TIMEOUT, Looking
from benchmarks.fleet.pace import Pace
from benchmarks.fleet.secret import Secret
from benchmarks.fleet.vault import Answer, Vault, What
from benchmarks.fleet.world import World

NO_ANSWER = Outage("read", "vault", "", "no answer", is_store_wide=False)
MOUNTS = {Kind.KV: 0, Kind.STATIC_ROLE: 1, Kind.LEASE: 1, Kind.CERTIFICATE: 2}
Job = tuple[What, Secret | None]


class Agent:
    """`waiting` are the secrets that come to the vault as soon as it `is_ready`."""

    name = "leasehold"

    def __init__(self, world: World, vault: Vault, origin: Origin, wanted: Wanted) -> None:
        self.world, self.vault, self.origin, self.wanted = world, vault, origin, wanted
        draw, share = world.draw, origin.terms.token / 20
        self.secrets = [Secret(world, kind, draw()) for kind in KINDS for _ in range(MIX[kind])]
        self.waiting: list[Secret] = []
        self.held_up: dict[int, list[Secret]] = {}  # until what mount theirs is has been told
        self.mounts: set[int] = set()
        self.looking = Looking(world, vault, self.opened)
        self.pace = Pace(world, len(self.secrets), self.send)
        self.epoch = -1  # of the token; less than 0: there is none
        self.token_policy = Policy(draw=draw())
        longest = min(LONGEST_TOKEN_PAUSE, share)
        self.token_backoff = Backoff(first=min(1.0, share), ceiling=longest, draw=draw)
        self.login_backoff = Backoff(ceiling=LONGEST_PAUSE_WITHOUT_ANSWER, draw=draw)
        self.is_proving = self.is_logging_in = False

    # --- from outside -------------------------------------------------------------------------

    def start(self) -> None:
        """With nothing."""
        self.waiting = list(self.secrets)
        self.log_in()

    def settle(self) -> None:
        """As it is after hours."""
        self.epoch, self.mounts = self.vault.epoch, set(MOUNTS.values())
        self._token_lasts(self.world.now - self.world.draw() * 0.6 * self.origin.terms.token)
        for secret in self.secrets:
            secret.settle(self.origin)
            self.plan(secret)

    def behind(self) -> Iterable[Secret]:
        """Those that are due, and were not had."""
        now = self.world.now
        return (each for each in self.secrets if each.read_at is None or each.due().at <= now)

    def leased(self) -> Iterable[Secret]:
        """Those that a dead token takes with it."""
        return (each for each in self.secrets if each.kind is Kind.LEASE)

    # --- a secret -----------------------------------------------------------------------------

    @property
    def is_ready(self) -> bool:
        return self.looking.is_open and self.epoch >= 0

    def plan(self, secret: Secret, absence: Absence | None = None) -> None:
        secret.turn += 1
        at = max(secret.due_after(absence).at, secret.retry_at)
        self.world.at(at, self.fire, (secret, secret.turn))

    def fire(self, planned: tuple[Secret, int]) -> None:
        secret, turn = planned
        if secret.turn != turn:
            return
        mount = MOUNTS[secret.kind]
        if not self.is_ready:
            self.waiting.append(secret)
        elif mount in self.mounts:
            self.ask(secret)
        elif mount in self.held_up:
            self.held_up[mount].append(secret)
        else:
            self.held_up[mount] = []
            self.pace.ask(Priority.READ, (What.READ, secret))

    def ask(self, secret: Secret) -> None:
        secret.is_asking = True
        if secret.term is None:
            self.pace.ask(Priority.READ, (What.READ, secret))
        else:
            self.pace.ask(Priority.RENEW, (What.RENEW, secret))

    def opened(self) -> None:
        """The store can be had again."""
        if self.epoch >= 0:
            self.wake()
        else:
            self.log_in()

    def wake(self) -> None:
        """Whoever waits may ask; what an absence has put off is made up for."""
        waiting, self.waiting = self.waiting, []
        absence = self.looking.absence
        for secret in waiting:
            lot = absence and Absence(absence.began_at, absence.ended_at, self.world.draw())
            self.plan(secret, lot)

    def heard(self, asked: tuple[Secret, float], answer: Answer) -> None:
        secret, sent_at = asked
        secret.is_asking = False
        held_up = self.held_up.pop(MOUNTS[secret.kind], None)
        both = [secret, *(held_up or [])]
        if answer is Answer.NONE or answer is Answer.SEALED:
            if self.looking.failed(sent_at):
                self.waiting += both
            else:
                for each in both:
                    self.retry(each)
        else:
            self.looking.succeeded()
            if answer is Answer.DENIED:
                for each in both:
                    self.prove_for(each)
            elif held_up is None:
                self.arrived(secret, sent_at)
            else:
                self.mounts.add(MOUNTS[secret.kind])
                for each in both:
                    self.ask(each)
        self.pace.done()

    def arrived(self, secret: Secret, asked_at: float) -> None:
        secret.arrived(asked_at, self.origin)
        if secret.is_wanted:
            secret.is_wanted = False
            self.wanted.had(self.world.now)
        self.plan(secret)

    def retry(self, secret: Secret) -> None:
        """A failure of its own."""
        secret.backoff = secret.backoff or Backoff(draw=self.world.draw)
        lease = Lease("", secret.term) if secret.term is not None else None
        secret.backoff.ceiling = longest_pause(NO_ANSWER, lease, self.world.now)
        secret.retry_at = self.world.now + secret.backoff.delay()
        self.plan(secret)

    # --- the token ----------------------------------------------------------------------------

    def log_in(self, _: object = None) -> None:
        if not self.is_logging_in and self.looking.is_open and self.epoch < 0:
            self.is_logging_in = True
            self.pace.ask(Priority.LOGIN, (What.LOGIN, None))

    def logged_in(self, sent_at: float, answer: Answer) -> None:
        self.is_logging_in = False
        if answer is Answer.GOOD:
            self.login_backoff.reset()
            self.epoch = self.vault.epoch
            self._token_lasts(sent_at)
            self.looking.succeeded()
            self.wake()
        elif not self.looking.failed(sent_at):
            self.world.at(self.world.now + self.login_backoff.delay(), self.log_in)
        self.pace.done()

    def prove_for(self, secret: Secret) -> None:
        """After a 403: the token is looked up, once for all who wonder."""
        if self.epoch >= self.vault.epoch:
            self.plan(secret)  # there is another one by now
        else:
            self.waiting.append(secret)
            self.prove()

    def prove(self) -> None:
        if self.epoch >= 0 and not self.is_proving:
            self.is_proving = True
            self.pace.ask(Priority.LOGIN, (What.LOOK_UP, None))

    def proven(self, sent_at: float, answer: Answer) -> None:
        self.is_proving = False
        if answer is Answer.NONE or answer is Answer.SEALED:
            self.looking.failed(sent_at)
        else:
            self.looking.succeeded()
            if answer is Answer.DENIED:
                self.lose_token()
        self.pace.done()

    def lose_token(self) -> None:
        """Its leases are gone, too: they are had anew as soon as there is another one."""
        self.epoch = -1
        for secret in self.leased():
            if secret.term is not None and not secret.is_asking and secret not in self.waiting:
                self.waiting.append(secret)
            secret.lose()
        self.log_in()

    def renew_token(self, _: object) -> None:
        if self.epoch < 0:
            return
        if self.looking.is_open:
            self.pace.ask(Priority.RENEW, (What.RENEW, None))
        else:
            self.world.at(self.world.now + self.token_backoff.delay(), self.renew_token)

    def token_renewed(self, sent_at: float, answer: Answer) -> None:
        if answer is Answer.NONE or answer is Answer.SEALED:
            self.looking.failed(sent_at)
            self.world.at(sent_at + self.token_backoff.delay(), self.renew_token)
        else:
            self.looking.succeeded()
            if answer is Answer.DENIED:
                self.prove()
            else:
                self.token_backoff.reset()
                self._token_lasts(sent_at)
        self.pace.done()

    def _token_lasts(self, since: float) -> None:
        lasts = self.origin.terms.token
        term = Term(since, lasts, is_renewable=True, full=lasts)
        self.world.at(due(term, self.token_policy).at, self.renew_token)

    # --- a request ----------------------------------------------------------------------------

    def send(self, job: Job) -> None:
        what, secret = job
        now = self.world.now
        if secret is None:
            heard = {
                What.LOGIN: self.logged_in,
                What.LOOK_UP: self.proven,
                What.RENEW: self.token_renewed,
            }[what]
            self.vault.ask(what, heard, now, epoch=self.epoch, patience=TIMEOUT)
        elif self.is_ready:
            secret.asked_at = now
            self.vault.ask(what, self.heard, (secret, now), epoch=self.epoch, patience=TIMEOUT)
        else:
            secret.is_asking = False
            self.waiting += [secret, *self.held_up.pop(MOUNTS[secret.kind], [])]
            self.pace.done()
