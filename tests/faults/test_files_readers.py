"""A reader that is quicker than the publisher still sees one generation at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.rig.generations import generations, published

READER = """
import os, sys
directory, last = sys.argv[1], sys.argv[2].encode()
seen, mixtures = set(), 0

def read(name, folder):
    with open(os.open(name, os.O_RDONLY, dir_fd=folder), "rb") as file:
        return file.read()

print("reading", flush=True)
while last not in seen:
    folder = os.open(directory + "/..data", os.O_RDONLY | os.O_DIRECTORY)
    try:
        pair = {read("certificate", folder), read("tls/key", folder)}
    except FileNotFoundError:
        continue  # two generations went by meanwhile
    finally:
        os.close(folder)
    mixtures += len(pair) != 1 or not pair.copy().pop()
    seen |= pair
print(len(seen), mixtures)
"""


def test_certificate_and_key_are_never_seen_mixed_consul_template_1672(
    memory_directory: Path,
) -> None:
    directory = memory_directory / "app"
    of = generations(directory)
    of.prepare()
    published(of, certificate="0", tls__key="0")
    command = [sys.executable, "-c", READER, str(directory), "200"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout and reader.stdout.readline() == "reading\n"
        for number in range(1, 201):
            published(of, certificate=str(number), tls__key=str(number))
        seen, mixtures = reader.communicate(timeout=30)[0].split()
    assert mixtures == "0"
    assert int(seen) > 5
