"""The others, by the constants that their sources have; what a supervisor or an app does is ours.

Vault Agent and OpenBao Agent run consul-template's runner behind an auto-auth of their own.
"""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.fleet.load import KINDS, MIX, REFRESH_EVERY, Kind, Origin, Wanted
from benchmarks.fleet.vault import Answer, Vault, What
from benchmarks.fleet.world import World

FIRST_RETRY, LONGEST_RETRY, RETRIES = 0.25, 60.0, 12
FIRST_LOGIN_RETRY, LONGEST_LOGIN_RETRY = 1.0, 300.0
PATIENCE = 60.0
RESTARTED_AFTER = 10.0
"""Seconds after which whoever supervises consul-template starts it again."""


class PeerSecret:
    """`is_known`: what its mount is has been asked. `round`: of the runner that keeps it."""

    __slots__ = ("attempts", "due_at", "is_held", "is_known", "is_leased", "is_wanted", "kind")

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.is_wanted = False
        self.begin()

    def begin(self) -> None:
        """A new runner knows nothing."""
        self.is_known = self.is_leased = self.is_held = False
        self.attempts, self.due_at = 0, 0.0


class ConsulTemplate:
    """Each secret by itself: 12 retries from 250 ms, doubled up to 60 s, without jitter; then it
    ends, and is started again. A token that dies is not replaced."""

    name = "consul-template"

    def __init__(self, world: World, vault: Vault, origin: Origin, wanted: Wanted) -> None:
        self.world, self.vault, self.origin, self.wanted = world, vault, origin, wanted
        self.secrets = [PeerSecret(kind) for kind in KINDS for _ in range(MIX[kind])]
        self.epoch, self.round = -1, 0

    # --- from outside -------------------------------------------------------------------------

    def start(self) -> None:
        """With nothing."""
        self.epoch = self.vault.epoch
        self.run()

    def settle(self) -> None:
        """As it is after hours."""
        self.epoch = self.vault.epoch
        for secret in self.secrets:
            secret.is_known = secret.is_held = True
            secret.is_leased = secret.kind is Kind.LEASE
            after = min(self.interval(secret), self.longest(secret))
            self.plan(secret, after * self.world.draw())
        self.keep_token(self.origin.terms.token * 0.7 * self.world.draw())

    def behind(self) -> Iterable[PeerSecret]:
        now = self.world.now
        return (each for each in self.secrets if not each.is_held or each.due_at <= now)

    def leased(self) -> Iterable[PeerSecret]:
        return (each for each in self.secrets if each.kind is Kind.LEASE)

    # --- a secret -----------------------------------------------------------------------------

    def run(self, _: object = None) -> None:
        """A runner begins: everything is asked for at once."""
        self.round += 1
        for secret in self.secrets:
            secret.begin()
            self.fire((secret, self.round))

    def interval(self, secret: PeerSecret) -> float:
        draw, terms = self.world.draw(), self.origin.terms
        if secret.kind is Kind.LEASE:
            return terms.lease * (0.70 + 0.03 * draw)
        if secret.kind is Kind.CERTIFICATE:
            return terms.certificate * 0.9
        if secret.kind is Kind.STATIC_ROLE:
            return self.origin.left(self.world.now) + 1.0
        return REFRESH_EVERY * (0.85 + 0.1 * draw)

    def longest(self, secret: PeerSecret) -> float:
        return self.interval(secret)

    def plan(self, secret: PeerSecret, after: float) -> None:
        secret.due_at = self.world.now + after
        self.world.at(secret.due_at, self.fire, (secret, self.round))

    def fire(self, planned: tuple[PeerSecret, int]) -> None:
        secret, of_round = planned
        if of_round == self.round:
            what = What.RENEW if secret.is_leased else What.READ
            self.vault.ask(what, self.heard, planned, epoch=self.epoch, patience=PATIENCE)

    def heard(self, asked: tuple[PeerSecret, int], answer: Answer) -> None:
        secret, of_round = asked
        if of_round != self.round:
            return
        if answer is not Answer.GOOD:
            self.retry(secret)
        elif not secret.is_known:
            secret.is_known = True
            self.fire(asked)
        else:
            self.arrived(secret)

    def arrived(self, secret: PeerSecret) -> None:
        secret.attempts, secret.is_held = 0, True
        secret.is_leased = secret.kind is Kind.LEASE
        if secret.is_wanted:
            secret.is_wanted = False
            self.wanted.had(self.world.now)
        self.plan(secret, self.interval(secret))

    def retry(self, secret: PeerSecret) -> None:
        if secret.attempts >= RETRIES:
            self.given_up()
            return
        pause = min(LONGEST_RETRY, FIRST_RETRY * 2.0**secret.attempts)
        secret.attempts += 1
        self.world.at(self.world.now + pause, self.fire, (secret, self.round))

    def given_up(self) -> None:
        self.round += 1
        self.world.at(self.world.now + RESTARTED_AFTER, self.run)

    # --- the token ----------------------------------------------------------------------------

    def keep_token(self, after: float) -> None:
        self.world.at(self.world.now + after, self.renew_token)

    def renew_token(self, _: object) -> None:
        self.vault.ask(What.RENEW, self.token_renewed, None, epoch=self.epoch, patience=PATIENCE)

    def token_renewed(self, _: object, answer: Answer) -> None:
        if answer is not Answer.DENIED:
            self.keep_token(self.origin.terms.token * 0.7)


class BaoAgent(ConsulTemplate):
    """The same runner, started again in the process when it gives up, and after each log-in."""

    name = "bao agent"

    def __init__(self, world: World, vault: Vault, origin: Origin, wanted: Wanted) -> None:
        super().__init__(world, vault, origin, wanted)
        self.login_pause = FIRST_LOGIN_RETRY

    def start(self) -> None:
        self.log_in()

    def given_up(self) -> None:
        self.run()

    def log_in(self, _: object = None) -> None:
        self.vault.ask(What.LOGIN, self.logged_in, None, epoch=0, patience=PATIENCE)

    def logged_in(self, _: object, answer: Answer) -> None:
        if answer is Answer.GOOD:
            self.login_pause, self.epoch = FIRST_LOGIN_RETRY, self.vault.epoch
            self.keep_token(self.origin.terms.token * 0.7)
            self.run()
            return
        pause = self.login_pause * (1 - 0.25 * self.world.draw())
        self.login_pause = min(LONGEST_LOGIN_RETRY, self.login_pause * 2)
        self.world.at(self.world.now + pause, self.log_in)

    def token_renewed(self, _: object, answer: Answer) -> None:
        if answer is Answer.DENIED:
            self.log_in()
        else:
            self.keep_token(self.origin.terms.token * (0.7 if answer is Answer.GOOD else 0.02))


TTL = 300.0
ASKED_EVERY = 60.0
"""How often an app asks for each of its secrets; a cache of which nobody asks reads nothing."""


class AwsAgent:
    """A cache: what is older than 300 s is looked up when an app asks, and served stale if that
    fails. Its store is another one; here it meets the same capacity."""

    name = "AWS agent"

    def __init__(self, world: World, vault: Vault, origin: Origin, wanted: Wanted) -> None:
        self.world, self.vault, self.wanted = world, vault, wanted
        self.secrets = [PeerSecret(Kind.KV) for _ in range(sum(MIX.values()))]

    def start(self) -> None:
        self.asked(None)

    def settle(self) -> None:
        now, draw = self.world.now, self.world.draw
        due_at = now + TTL * draw()
        for secret in self.secrets:
            secret.is_held = secret.is_known = True
            secret.due_at = due_at
        self.world.at(now + ASKED_EVERY * draw(), self.asked)

    def behind(self) -> Iterable[PeerSecret]:
        now = self.world.now
        return (each for each in self.secrets if not each.is_held or each.due_at <= now)

    def leased(self) -> Iterable[PeerSecret]:
        return ()

    def asked(self, _: object) -> None:
        """By the app, for all of them."""
        now = self.world.now
        for secret in self.secrets:
            if secret.due_at <= now:
                self.vault.ask(What.READ, self.heard, secret, epoch=0, patience=PATIENCE)
        self.world.at(now + ASKED_EVERY, self.asked)

    def heard(self, secret: PeerSecret, answer: Answer) -> None:
        if answer is not Answer.GOOD:
            return
        if secret.is_wanted and secret.is_held:  # DescribeSecret tells that it has moved
            secret.is_wanted = False
            self.vault.ask(What.READ, self.had, secret, epoch=0, patience=PATIENCE)
            return
        if secret.is_wanted:
            secret.is_wanted = False
            self.wanted.had(self.world.now)
        secret.is_held, secret.due_at = True, self.world.now + TTL

    def had(self, secret: PeerSecret, answer: Answer) -> None:
        secret.is_wanted = answer is not Answer.GOOD
        if answer is Answer.GOOD:
            secret.due_at = self.world.now + TTL
            self.wanted.had(self.world.now)
