"""The API of the AWS Secrets Manager Agent, for apps that ask that one.

    query     what a request asks for, by its path and its parameters
    token     what a request must carry, so that nobody's browser or proxy can make one
    answers   a secret as that agent would give it, and its errors
    door      the checks in its order, the rules, the ledger

Secrets of any store, by their names and aliases. It answers from the ledger; only `refreshNow` has
a watcher ask a store.
"""

from agent.api.aws.door import AwsDoor
from agent.api.aws.token import Token

__all__ = ["AwsDoor", "Token"]
