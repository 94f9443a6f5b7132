"""The client's side of TLS, from the files of the configuration."""

from __future__ import annotations

import ssl

from agent.config.model import Tls
from agent.core.errors import ConfigurationError


def ssl_context(store: str, tls: Tls) -> ssl.SSLContext:
    """The client's side of TLS; ConfigurationError if a file can't be used."""
    place = f"stores.{store}.tls"
    try:
        context = ssl.create_default_context(cafile=str(tls.ca_file) if tls.ca_file else None)
    except OSError as error:
        raise ConfigurationError([f"{place}.ca_file: {_file_reason(error)}"]) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls.cert_file:
        try:
            context.load_cert_chain(tls.cert_file, tls.key_file)
        except OSError as error:
            raise ConfigurationError(
                [f"{place}.cert_file: certificate and key can't be used: {_file_reason(error)}"]
            ) from None
    return context


def _file_reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return "not PEM, or certificate and key do not match"
    return f"{error.strerror}: {error.filename}" if error.filename else str(error.strerror)
