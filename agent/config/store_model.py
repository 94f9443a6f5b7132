"""The `stores` section: places that hold secrets, and how the agent proves who it is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

from msgspec import Meta

from agent.config.kinds import (
    Credential,
    InputFile,
    Model,
    NotYet,
    Seconds,
    StoreAddress,
    described,
)


class Tls(Model, frozen=True):
    """TLS to the store. The system's own authorities are used where `ca_file` is absent."""

    ca_file: Annotated[InputFile | None, described("PEM file with the authorities to trust.")] = (
        None
    )
    cert_file: Annotated[InputFile | None, described("Client certificate (PEM).")] = None
    key_file: Annotated[
        InputFile | None, described("Its private key (PEM); may be in cert_file.")
    ] = None
    server_name: Annotated[str | None, described("Name to expect in the certificate.")] = None


class Budget(Model, frozen=True):
    """The pace that all requests to one store share. Logins and renewals go before reads."""

    per_second: Annotated[
        float | None,
        Meta(gt=0, description="Requests a second. Default: 20, or twice what steady state needs."),
    ] = None
    burst: Annotated[
        int | None,
        Meta(
            ge=1,
            description="Requests that may go at once after quiet. "
            "Default: 40, or one for each secret of the store and some for logging in.",
        ),
    ] = None
    concurrent: Annotated[
        int, Meta(ge=1, le=1024, description="Requests under way at once; also the connections.")
    ] = 16


class AppRole(Model, tag="approle", tag_field="method", frozen=True):
    """AppRole: a role-id and a secret-id, each from a file or the environment."""

    exactly_one: ClassVar = (("role_id_file", "role_id"), ("secret_id_file", "secret_id"))

    mount: Annotated[str, described("Where the auth method is mounted.")] = "approle"
    role_id_file: Annotated[InputFile | None, described("File with the role-id.")] = None
    role_id: Annotated[str | None, described("The role-id itself.")] = None
    secret_id_file: Annotated[InputFile | None, described("File with the secret-id.")] = None
    secret_id: Annotated[Credential | None, described("The secret-id, as ${NAME}.")] = None
    secret_id_wrapped: Annotated[
        bool, described("The secret-id is a response-wrapping token that is unwrapped first.")
    ] = False
    wrapped_path: Annotated[
        str | None,
        described("The creation path that the wrapping token must have; else it is refused."),
    ] = None
    remove_secret_id_file: Annotated[
        bool, described("Delete the secret-id's file once it has been read and used to log in.")
    ] = True


class TokenFile(Model, tag="token_file", tag_field="method", frozen=True):
    """A token that somebody else puts into a file (or the environment) and may replace there."""

    exactly_one: ClassVar = (("token_file", "token"),)

    token_file: Annotated[
        InputFile | None, described("File with the token; followed when replaced.")
    ] = None
    token: Annotated[Credential | None, described("The token, as ${NAME}.")] = None


class Kubernetes(Model, tag="kubernetes", tag_field="method", frozen=True):
    """Kubernetes: the pod's service-account token. A new one on disk is used at once."""

    role: Annotated[str, described("Role of the auth method.")]
    mount: Annotated[str, described("Where the auth method is mounted.")] = "kubernetes"
    jwt_file: Annotated[InputFile, described("File with the service-account token.")] = Path(
        "/var/run/secrets/kubernetes.io/serviceaccount/token"
    )


class Jwt(Model, tag="jwt", tag_field="method", frozen=True):
    """JWT/OIDC: a signed token from a file. A new one on disk is used at once."""

    exactly_one: ClassVar = (("jwt_file", "jwt"),)

    role: Annotated[str | None, described("Role of the auth method; its default when absent.")] = (
        None
    )
    mount: Annotated[str, described("Where the auth method is mounted.")] = "jwt"
    jwt_file: Annotated[InputFile | None, described("File with the JWT.")] = None
    jwt: Annotated[Credential | None, described("The JWT, as ${NAME}.")] = None


class Cert(Model, tag="cert", tag_field="method", frozen=True):
    """TLS client certificate: the store's `tls.cert_file` and `tls.key_file`."""

    mount: Annotated[str, described("Where the auth method is mounted.")] = "cert"
    role: Annotated[
        str | None, described("Certificate role to log in against; any when absent.")
    ] = None


class UserPass(Model, tag="userpass", tag_field="method", frozen=True):
    """User name and password."""

    exactly_one: ClassVar = (("password_file", "password"),)

    username: Annotated[str, described("User name.")]
    mount: Annotated[str, described("Where the auth method is mounted.")] = "userpass"
    password_file: Annotated[InputFile | None, described("File with the password.")] = None
    password: Annotated[Credential | None, described("The password, as ${NAME}.")] = None


class Ldap(Model, tag="ldap", tag_field="method", frozen=True):
    """LDAP user name and password."""

    exactly_one: ClassVar = (("password_file", "password"),)

    username: Annotated[str, described("User name.")]
    mount: Annotated[str, described("Where the auth method is mounted.")] = "ldap"
    password_file: Annotated[InputFile | None, described("File with the password.")] = None
    password: Annotated[Credential | None, described("The password, as ${NAME}.")] = None


NOT_YET_AUTH = ("aws", "azure", "gcp")
Auth = AppRole | TokenFile | Kubernetes | Jwt | Cert | UserPass | Ldap


class VaultStore(Model, tag="vault", tag_field="type", frozen=True):
    """HashiCorp Vault or OpenBao."""

    auth: Annotated[Auth, NotYet(NOT_YET_AUTH), described("How the agent proves who it is.")]
    address: Annotated[
        StoreAddress | None,
        described("https://HOST:PORT or unix:/PATH. VAULT_ADDR or BAO_ADDR when absent."),
    ] = None
    namespace: Annotated[str | None, described("Namespace of all paths.")] = None
    tls: Annotated[Tls, described("TLS to the server.")] = Tls()
    timeout: Annotated[Seconds, Meta(gt=0, description="Longest time for one request.")] = 10.0
    budget: Annotated[Budget, described("The pace of requests.")] = Budget()


class LocalKey(Model, frozen=True):
    """The key of an encrypted file: exactly one of the two."""

    exactly_one: ClassVar = (("file", "passphrase_file"),)

    file: Annotated[
        InputFile | None,
        described("64 hexadecimal characters or 32 bytes, readable by the owner only."),
    ] = None
    passphrase_file: Annotated[InputFile | None, described("A passphrase; the key is derived.")] = (
        None
    )


class LocalStore(Model, tag="local", tag_field="type", frozen=True):
    """The local encrypted store, for laptops, tests and machines without a vault."""

    file: Annotated[InputFile, described("The encrypted file; `leasehold local init` makes it.")]
    key: Annotated[LocalKey, described("What it is encrypted with.")]


NOT_YET_STORES = ("aws", "azure", "gcp")
AnyStore = VaultStore | LocalStore
