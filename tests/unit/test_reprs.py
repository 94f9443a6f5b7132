"""Whatever holds a value can stand in a log, a traceback or a failed assertion."""

from __future__ import annotations

import pytest

from agent.api.vault.asking import Asked
from agent.config.model import AppRole, SecretEntry, TokenFile, VaultStore
from agent.config.report import Place
from agent.config.scalars import CredentialText
from agent.config.tree import List, Mapping, Text
from agent.core.secret import Reading, Secret
from agent.delivery.generations.tree import RenderedFile
from agent.delivery.process.provision import Provision
from agent.delivery.process.spawn import Ended
from agent.ledger import Entry
from agent.rendering.text import Binary
from agent.rendering.values import Held, View
from agent.stores.base import ReadRequest
from agent.stores.vault.auth import Grant
from agent.stores.vault.replies import Answer, Granted
from agent.watcher.holding import Holding

VALUE = "hunter2"
SECRET = Secret({"password": VALUE, "list": [VALUE], "binary": VALUE.encode()})
READING = Reading(SECRET, "1")
PLACE = Place("leasehold.yaml", 1)
TEXT = Text(PLACE, text=VALUE, style=None, written="${TOKEN}", is_from_environment=True)
CREDENTIAL = CredentialText(VALUE)

HOLDERS: list[object] = [
    SECRET,
    READING,
    Entry("db", reading=READING),
    Holding(revision=1, reading=READING, read_at=0.0, proven_at=0.0),
    Held(READING),
    View("db", SECRET),
    Binary(VALUE.encode()),
    ReadRequest("pki/sign/app", data={"private_key": VALUE}),
    SecretEntry(path="transit/encrypt/app", data={"plaintext": VALUE}),
    VaultStore(auth=AppRole(role_id="app", secret_id=CREDENTIAL)),
    TokenFile(token=CREDENTIAL),
    Grant(token=VALUE, id="accessor", ttl=60.0, is_renewable=True),
    Granted(client_token=VALUE),
    Answer(data={"data": {"password": VALUE}}, auth=Granted(client_token=VALUE)),
    RenderedFile(VALUE.encode(), 0o440),
    Provision({"DB_PASSWORD": VALUE}, {"TLS_KEY_FILE": VALUE.encode()}),
    Ended(1, VALUE, False),
    Asked("GET", "secret/app", "", ("read",), None, VALUE, wraps=False),
    TEXT,
    Text(PLACE, text=VALUE, style=None, written=VALUE),
    Mapping(PLACE, {"token": TEXT, "jwt": List(PLACE, [TEXT])}),
]


@pytest.mark.parametrize("holder", HOLDERS, ids=lambda holder: type(holder).__name__)
def test_no_value_is_in_a_repr(holder: object) -> None:
    assert VALUE not in repr(holder) and VALUE not in repr([{"it": holder}])
    assert VALUE not in f"{holder!r}"
