"""The example's job: it works with the secret in its files, once."""

from __future__ import annotations

import json
import os
from pathlib import Path

directory = Path(os.environ["SECRETS_DIRECTORY"])
credential = json.loads((directory / "database.json").read_text())
version = (directory / "version").read_text()
print(json.dumps({"event": "worked_with", "username": credential["username"], "version": version}))
