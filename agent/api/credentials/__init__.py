"""LoadCredential= of systemd units: raw bytes on a UNIX socket, no framing, no word for an error.

    peer          which unit wants which credential: the name that systemd has bound
    content       the bytes of a credential
    activations   what a unit was given since it was started, so that it is given the same again
    failing       what a unit gets that is to get nothing
    door          waits for the value, gives it, or makes the unit fail

systemd takes the end of the stream for the end of the credential: a connection that is closed
without a byte is an *empty* credential, and the unit starts with it. AF_UNIX has no reset for a
peer that sends nothing (SO_LINGER means nothing to it). What systemd does refuse is a credential of
more than 1 MiB: that is what a unit gets that is to get nothing.
"""

from agent.api.credentials.activations import Activations
from agent.api.credentials.door import CredentialsDoor

__all__ = ["Activations", "CredentialsDoor"]
