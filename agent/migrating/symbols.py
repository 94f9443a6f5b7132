"""What a Go expression stands for while it is translated: part of a secret, or Jinja code."""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from agent.migrating.secret_book import Wanted

_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LISTS = frozenset(("ca_chain", "keys"))


class Untranslatable(Exception):
    """A construct without a counterpart; the text says what to do instead."""


class Code(NamedTuple):
    """An expression of Jinja. `kind` is list or pairs (a mapping) where that is known, else any.

    `optional` may be undefined: Go makes do with what isn't there, Jinja does not. `fixed` is what
    the configuration itself can hold, with `${NAME}` for the environment; `literal` is a text or
    number that stands in the template.
    """

    text: str
    is_atom: bool = True
    is_filtered: bool = False
    kind: str = "any"
    optional: bool = False
    fixed: str | None = None
    literal: str | None = None

    def field(self, name: str) -> Code:
        access = f".{name}" if _FIELD.fullmatch(name) else f"[{quoted(name)}]"
        kind = "list" if name in _LISTS else "any"
        return Code(self.atom + access, kind=kind, optional=True)

    @property
    def atom(self) -> str:
        return self.text if self.is_atom else f"({self.text})"

    @property
    def truth(self) -> str:
        """What isn't there counts as false."""
        return f"{self.text} | default(false)" if self.optional else self.text

    def filtered(self, *filters: str) -> Code:
        """Through filters, which bind more tightly than every operator."""
        begin = self.text if self.is_atom or self.is_filtered else f"({self.text})"
        return Code(" | ".join((begin, *filters)), is_atom=False, is_filtered=True)


def loose(text: str) -> Code:
    """An expression with an operator in it."""
    return Code(text, is_atom=False)


class Secret(NamedTuple):
    """The answer to a request, whole."""

    wanted: Wanted

    def field(self, name: str) -> Symbol:
        if name == "Data":
            return Data(self.wanted)
        if name == "LeaseID":
            return Code(f"meta({quoted(self.wanted.name)}).lease_id")
        raise Untranslatable(f".{name} of an answer is not kept; only .Data and .LeaseID are")


class Data(NamedTuple):
    """`.Data`: the fields, or in KV version 2 what is around them."""

    wanted: Wanted

    def field(self, name: str) -> Symbol:
        wanted = self.wanted
        if wanted.data is None and name in ("data", "metadata"):
            wanted.fields_of_kv = True
            return Fields(wanted) if name == "data" else Metadata(wanted)
        if wanted.is_kv2_by_path:
            raise Untranslatable(f".Data.{name} is nothing in KV version 2: .Data.data.{name}?")
        wanted.fields_of_all = True
        return Code(wanted.name).field(name)

    @property
    def whole(self) -> Code:
        if self.wanted.is_kv2_by_path:
            raise Untranslatable(".Data of KV version 2 has metadata beside the data: .Data.data?")
        self.wanted.fields_of_all = True
        return Code(self.wanted.name, kind="pairs")


class Fields(NamedTuple):
    """`.Data.data`: the fields of KV version 2."""

    wanted: Wanted

    def field(self, name: str) -> Code:
        return Code(self.wanted.name).field(name)

    @property
    def whole(self) -> Code:
        return Code(self.wanted.name, kind="pairs")


class Metadata(NamedTuple):
    """`.Data.metadata` of KV version 2."""

    wanted: Wanted

    def field(self, name: str) -> Code:
        if name not in ("version", "custom_metadata"):
            raise Untranslatable(f"metadata.{name} is not kept; version and custom_metadata are")
        return Code(f"meta({quoted(self.wanted.name)}).{name}", kind="any")


class Certificate(NamedTuple):
    """What pkiCert gives."""

    wanted: Wanted

    def field(self, name: str) -> Code:
        secret = self.wanted.name
        match name:
            case "Cert":
                return Code(secret).filtered('pem("certificate")')
            case "Key":
                return Code(secret).filtered('pem("private_key")')
            case "CA":
                return loose(f'{secret}.issuing_ca | trim ~ "\\n"')
            case "CAChain":
                return Code(f"{secret}.ca_chain", kind="list", optional=True)
        raise Untranslatable(f".{name} is nothing of pkiCert; .Cert, .Key, .CA and .CAChain are")


class Nothing(NamedTuple):
    """nil, and the dot where nothing was set."""

    def field(self, name: str) -> Symbol:
        raise Untranslatable(f".{name} stands where no secret is at hand")


Symbol = Code | Secret | Data | Fields | Metadata | Certificate | Nothing


def code_of(symbol: Symbol) -> Code:
    """What can go into an expression."""
    match symbol:
        case Code():
            return symbol
        case Data() | Fields():
            return symbol.whole
        case Nothing():
            return Code("none")
    raise Untranslatable("an answer as a whole is no value; name a field of it")


def text_code(text: str) -> Code:
    """A text that stands in the template."""
    return Code(quoted(text), fixed=text.replace("${", "$${"), literal=text)


def quoted(text: str) -> str:
    """As a string of Jinja, on one line."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
