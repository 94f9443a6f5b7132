"""What the keys of a listener say of each other, and of the secrets that there are."""

from __future__ import annotations

from fnmatch import fnmatchcase

from agent.config.listener_model import (
    ApiRule,
    AwsListener,
    CallerRule,
    CredentialRule,
    CredentialsListener,
    SecretsListener,
    SecretsRule,
    VaultListener,
    VaultRule,
)
from agent.config.references import References
from agent.config.report import listed, quoted
from agent.config.walk import Checks, Reading

CONDITIONS = CallerRule.__struct_fields__
_OF_A_FILE = ("owner", "group", "mode")
_WHOSE = ("user", "group", "unit", "container", "pod_uid")


class ListenerRules:
    """The checks by section; `references` knows the secrets, and learns which are used."""

    def __init__(self, references: References) -> None:
        self._references = references
        self._places: dict[str, str] = {}

    def checks(self) -> Checks:
        listeners = (SecretsListener, VaultListener, AwsListener, CredentialsListener)
        return {
            **dict.fromkeys(listeners, self._listener),
            VaultListener: self._vault_listener,
            SecretsRule: self._rule,
            ApiRule: self._api_rule,
            VaultRule: self._vault_rule,
            CredentialRule: self._credential_rule,
        }

    def _listener(self, listener: Reading) -> None:
        allow = listener.values.get("allow", ())
        if not allow and ("allow" in listener.values or "allow" not in listener.given):
            listener.warning("nobody may have anything here: `allow` has no rule", "allow")
        if listener.values.get("address") is not None:
            self._on_tcp(listener)
        self._only_of_files(listener)
        if listener.model is CredentialsListener:
            self._only_for_root(listener)
        self._place_is_free(listener)

    def _vault_listener(self, listener: Reading) -> None:
        self._listener(listener)
        stores = self._references.stores
        vaults = [each for each in stores if self._references.type_of(each) in ("vault", None)]
        name = listener.values.get("store")
        if name in stores and name not in vaults:
            listener.problem(f"{quoted(name)} is no vault", "store")
        elif "store" not in listener.given:
            if len(vaults) == 1:
                listener.values["store"] = vaults[0]
            elif vaults:
                why = f"is needed where there are several; permitted: {listed(vaults)}"
                listener.problem(f'key "store" {why}')
            else:
                listener.problem("there is no vault among the stores")

    def _on_tcp(self, listener: Reading) -> None:
        for number, rule in enumerate(listener.values.get("allow", ())):
            named = [key for key in CONDITIONS if getattr(rule, key) is not None]
            if named:
                text = f"allow[{number}] can match nobody: on TCP no caller has a known {named[0]}"
                listener.warning(text, "allow")

    def _only_of_files(self, listener: Reading) -> None:
        socket = listener.values.get("socket")
        if socket is not None and not socket.startswith("@"):
            return
        for key in _OF_A_FILE:
            if key in listener.given and {"socket", "address", "activated"} & set(listener.values):
                listener.problem("has a meaning for a socket that is a file only", key)

    def _only_for_root(self, listener: Reading) -> None:
        """Whoever else could connect would be told nothing, and could only be a nuisance."""
        if listener.values.get("mode", 0o600) & 0o077:
            listener.problem('must be "0600": systemd connects as root', "mode")
        if listener.values.get("owner") not in (None, "root", "0"):
            listener.problem("must be root: systemd connects as root", "owner")
        if listener.values.get("group") not in (None, "root", "0"):
            listener.problem("must be root: systemd connects as root", "group")
        if (listener.values.get("socket") or "").startswith("@"):
            listener.problem("must be a file: LoadCredential= knows no other", "socket")

    def _place_is_free(self, listener: Reading) -> None:
        for key in ("socket", "address", "activated"):
            place = listener.values.get(key)
            if place is None:
                continue
            where = f"listeners[{listener.path[-1]}]"
            first = self._places.setdefault(f"{key} {place}", where)
            if first != where:
                listener.problem(f"is that of {first}, too", key)

    def _rule(self, rule: Reading) -> None:
        self._globs(rule, "secrets")
        named = {key for key in CONDITIONS if key in rule.given}
        of_program = sorted(named & {"executable", "sha256"})
        if of_program and not named & set(_WHOSE):
            text = "is no proof alone: any user may run that file with code of their own inside"
            rule.warning(f"{text}; name the user or the unit, too", of_program[0])

    def _api_rule(self, rule: Reading) -> None:
        if not any(
            key in rule.given and rule.values.get(key, key) for key in ("secrets", "bundles")
        ):
            rule.problem("needs secrets, bundles or both")
        for glob in rule.values.get("bundles", ()):
            if not any(fnmatchcase(each, glob) for each in self._references.bundles):
                rule.warning(f"{quoted(glob)} matches no bundle", "bundles")
        self._rule(rule)

    def _vault_rule(self, rule: Reading) -> None:
        if not {"secrets", "paths"} & set(rule.given):
            rule.problem("needs secrets, paths or both")
        self._rule(rule)

    def _credential_rule(self, rule: Reading) -> None:
        if not {"secrets", "credentials"} & set(rule.given):
            rule.problem("needs secrets, credentials or both")
        self._globs(rule, "secrets")
        self._globs(rule, "credentials")

    def _globs(self, rule: Reading, key: str) -> None:
        for glob in rule.values.get(key, ()):
            name = glob.partition(".")[0]
            found = [each for each in self._references.secrets if fnmatchcase(each, name)]
            self._references.is_served(found)
            if not found:
                rule.warning(f"{quoted(glob)} matches no secret", key)
