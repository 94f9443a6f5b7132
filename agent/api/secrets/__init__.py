"""The secrets API: what apps ask for, over HTTP/1.1 on a UNIX socket.

    door       one request to one answer: at once where nothing has to be waited for
    targets    which resource a path means; what a query and a body say
    sight      who may read what, worked out once for all callers that are alike
    answers    a secret as it is sent, encoded once for each entry of the ledger
    changes    who waits for the next change of which name
    events     changes as server-sent events, coalesced for those who read slowly
    bundles    what is asked of bundles, by a protocol that the room above fulfils
    openapi    the API's own description

It reads the ledger, never a store.
"""

from agent.api.secrets.bundles import Bundles, BundleState, Word
from agent.api.secrets.door import SecretsDoor

__all__ = ["BundleState", "Bundles", "SecretsDoor", "Word"]
