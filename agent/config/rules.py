"""What a section's keys say of each other, where the model's types can't express it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from agent.config.addresses import store_address
from agent.config.kinds import NAME_PATTERN
from agent.config.model import (
    Audit,
    Bundle,
    Cache,
    Cert,
    ConfirmApi,
    FormatFile,
    SecretEntry,
    Tls,
    Validate,
    VaultStore,
)
from agent.config.references import References
from agent.config.report import Unfit, listed, quoted
from agent.config.tree import Mapping as Tree
from agent.config.tree import Text
from agent.config.walk import Checks, Reading

ADDRESS_VARIABLES = ("VAULT_ADDR", "BAO_ADDR")
_NAME = re.compile(NAME_PATTERN)
_ALIAS = re.compile(r"[A-Za-z0-9/_+=.@!:-]{1,512}")
_LOOPBACK = re.compile(r"127(?:\.[0-9]{1,3}){3}")
_ONLY_FOR = {"field": "raw", "keys": "env", "parts": "pem"}
_OF_ONE_SECRET = ("raw", "pem")


class Rules:
    """The checks by section; `references` knows the other sections' names."""

    def __init__(self, references: References, environment: Mapping[str, str]) -> None:
        self._references, self._environment = references, environment
        self._aliases: dict[str, str] = {}

    def checks(self) -> Checks:
        return {
            VaultStore: self._vault_store,
            SecretEntry: self._secret,
            FormatFile: self._format_file,
            Bundle: self._bundle,
            Validate: self._validate,
            ConfirmApi: self._confirm_api,
            Cache: self._cache,
            Audit: self._audit,
        }

    def _vault_store(self, store: Reading) -> None:
        self._find_address(store)
        address = store.get("address")
        if address and address.startswith("http:") and not _is_loopback(address):
            store.warning("http:// to another host shows every secret to the network", "address")
        tls, auth = store.get("tls"), store.get("auth") if "auth" in store.values else None
        is_known = "tls" in store.values or "tls" not in store.given
        if isinstance(auth, Cert) and is_known and isinstance(tls, Tls) and tls.cert_file is None:
            store.problem("method cert needs the store's tls.cert_file", "auth")

    def _find_address(self, store: Reading) -> None:
        """Where there is none, the one that the vault's own programs would use."""
        if "address" in store.given:
            return
        for name in ADDRESS_VARIABLES:
            if self._environment.get(name):
                shown = Text(store.node.place, self._environment[name], None, f"${{{name}}}", True)
                try:
                    store.values["address"] = store_address(shown)
                except Unfit as unfit:
                    store.problem(f"address: {unfit}")
                return
        given = " and ".join(ADDRESS_VARIABLES)
        store.problem(f'key "address" is missing, and so are {given} in the environment')

    def _secret(self, secret: Reading) -> None:
        stores = list(self._references.stores)
        if "store" not in secret.given:
            if len(stores) == 1:
                secret.values["store"] = stores[0]
            else:
                why = f"is needed where there are several; permitted: {listed(stores)}"
                secret.problem(f'key "store" {why}' if stores else "there is no store to read from")
        if {"version", "data"} <= set(secret.given):
            secret.problem("version and data exclude each other: a write has no version", "version")
        self._path(secret)
        for alias in secret.values.get("aliases", ()):
            self._alias(secret, alias)

    def _alias(self, secret: Reading, alias: str) -> None:
        """Every name leads to one secret: another's name or alias is refused."""
        name = str(secret.path[-1])
        owner = alias if alias in self._references.secrets else self._aliases.get(alias)
        if not _ALIAS.fullmatch(alias):
            why = "permitted: 1 to 512 letters, digits and / _ + = . @ ! : -"
            secret.problem(f"{quoted(alias)} is no alias; {why}", "aliases")
        elif owner is not None and owner != name:
            secret.problem(f"{quoted(alias)} means secrets.{owner} already", "aliases")
        self._aliases.setdefault(alias, name)

    def _path(self, secret: Reading) -> None:
        path = secret.values.get("path")
        if path is not None and not path.strip("/ "):
            secret.problem("names nothing", "path")
        elif self._references.type_of(secret.values.get("store", "")) == "local":
            if path is not None and not _NAME.fullmatch(path):
                why = "permitted: a letter, then letters, digits, _ and -"
                secret.problem(f"is no name in a local store; {why}", "path")
            if "data" in secret.given:
                secret.problem("a local store is not written to", "data")

    def _format_file(self, file: Reading) -> None:
        chosen, secrets = file.values.get("format"), file.values.get("secrets", ())
        if chosen in _OF_ONE_SECRET and len(secrets) > 1:
            file.problem(f"format {chosen} takes exactly one secret, not {len(secrets)}", "secrets")
        for key, only in _ONLY_FOR.items():
            if chosen is not None and key in file.given and chosen != only:
                file.problem(f"has a meaning for format {only} only, not for {chosen}", key)

    def _validate(self, validate: Reading) -> None:
        if not {"command", "checks"} & set(validate.given):
            validate.problem("needs command, checks or both")

    def _cache(self, cache: Reading) -> None:
        file, head = cache.values.get("file"), cache.values.get("head")
        if head is not None and head == file:
            cache.problem("is the file itself", "head")
        key = cache.values.get("key")
        if file is not None and key is not None and _folder(key.file) == file.parent:
            cache.warning("lies beside the cache: who takes the disk has both", "key")

    def _audit(self, audit: Reading) -> None:
        if not any(audit.values.get(key) for key in ("file", "journal", "syslog")):
            if not {"file", "journal", "syslog"} & (set(audit.given) - set(audit.values)):
                audit.problem("has nowhere to go: file, journal or syslog is needed")
        elif audit.values.get("key") is not None and "file" not in audit.given:
            audit.problem("chains a file, and there is none", "key")

    def _confirm_api(self, confirm: Reading) -> None:
        if confirm.values.get("api") is False:
            confirm.problem("must be true; leave `confirm` out where there is no proof", "api")

    def _bundle(self, bundle: Reading) -> None:
        name = str(bundle.path[-1])
        if "directory" in bundle.values:
            directory = Path(os.path.normpath(bundle.values["directory"]))
            place = bundle.node.entries["directory"].place
            self._references.has_directory(name, directory, place)
        self._refuse_file_as_folder(bundle)

    def _refuse_file_as_folder(self, bundle: Reading) -> None:
        files = bundle.node.entries.get("files")
        names = files.entries if isinstance(files, Tree) else {}
        for each, node in names.items():
            steps = each.split("/")
            folders = {"/".join(steps[:n]) for n in range(1, len(steps))}
            for folder in sorted(folders & names.keys()):
                text = f"{quoted(folder)} is a file, so it can't be a folder"
                bundle.report.problem(node.place, (*bundle.path, "files", each), text)


def _folder(path: Path | None) -> Path | None:
    return None if path is None else path.parent


def _is_loopback(address: str) -> bool:
    host = urlsplit(address).hostname or ""
    return host in ("localhost", "::1") or _LOOPBACK.fullmatch(host) is not None
