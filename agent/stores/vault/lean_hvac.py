"""hvac without requests, which it imports for an adapter of its own that is not used here.

requests and urllib3 are a fifth of the agent's start and 5 MB of its memory. While hvac is imported
a stand-in takes their place; whoever else imports requests afterwards gets the real one.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

__all__ = ["Adapter", "hvac"]


class _StandIn(ModuleType):
    """Has whatever hvac names in an annotation or an `except`."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (Exception,), {})


def _absent() -> dict[str, ModuleType]:
    names = ("requests", "requests.exceptions")
    return {} if names[0] in sys.modules else {name: _StandIn(name) for name in names}


_stand_ins = _absent()
sys.modules.update(_stand_ins)
try:
    import hvac
    from hvac.adapters import Adapter
finally:
    for _name in _stand_ins:
        del sys.modules[_name]
