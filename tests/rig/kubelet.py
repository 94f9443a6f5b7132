"""One pod as a kubelet would run it, from its rendered manifests, by podman.

Volumes with the owners, modes and links that a kubelet gives them, each container with its security
context and limits, one network for all, probes from outside, sidecars before apps. What is not
here: scheduling, pulling, and network policies.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.rig.containers import Container, Containers
from tests.rig.images import BASE
from tests.rig.kubernetes import Manifest, containers, of_kind, pod_of, volumes
from tests.rig.network_namespace import asked_within
from tests.rig.waiting import eventually

SOON = 120.0
BEGUN = '{"event": "begun"}'
UNITS = {"Ki": "k", "Mi": "m", "Gi": "g"}

Token = Callable[[Manifest], str]
"""Makes a token as a `serviceAccountToken` source asks for it."""


class Kubelet:
    """Runs one pod; `images` stands in for registries, `hosts` (of /etc/hosts) for DNS."""

    def __init__(
        self,
        engine: Containers,
        manifests: Sequence[Manifest],
        folder: Path,
        *,
        token: Token,
        images: dict[str, str],
        hosts: str = "",
    ) -> None:
        self.pod = pod_of(manifests)
        self.running: dict[str, Container] = {}
        self.sandbox = 0
        self.engine, self._images, self._hosts = engine, images, hosts
        self._maps = {
            each["metadata"]["name"]: each["data"] for each in of_kind(manifests, "ConfigMap")
        }
        self._folder, self._token = folder, token
        self._mounted: list[Path] = []

    # --- its life -----------------------------------------------------------------------------

    async def create(self) -> None:
        """The sandbox, whose namespaces the containers share, and the volumes."""
        words = ("sh", "-c", f"echo '{BEGUN}'; exec sleep infinity")
        pause = await self.engine.run("pause", *words, image=BASE, options=["--network=none"])
        self.running["pause"] = pause
        await pause.event("begun", within=SOON)
        self.sandbox = await pause.process_id()
        await asyncio.to_thread(self._make_volumes)

    async def start(self) -> None:
        """Everything, in order: a sidecar has to have started, an init container to have ended."""
        spec = self.pod["spec"]
        for container in spec.get("initContainers", []):
            started = await self.run(container["name"])
            if container.get("restartPolicy") == "Always":
                await self.probed(container["name"], "startupProbe")
            else:
                done = await started.wait(within=SOON)
                assert done.code == 0, done.err
        for container in spec["containers"]:
            await self.run(container["name"])

    async def run(self, name: str) -> Container:
        """One container (again)."""
        container = containers(self.pod)[name]
        self.running[name] = await self.engine.run(
            name,
            *container.get("command", [])[1:],
            *container.get("args", []),
            image=self._images[container["image"]],
            options=list(self._options(container)),
        )
        return self.running[name]

    async def probed(self, name: str, probe: str) -> None:
        """Until the probe of a container succeeds."""
        container = containers(self.pod)[name]
        action = container[probe]["httpGet"]
        numbers = {each["name"]: each["containerPort"] for each in container["ports"]}

        def succeeds() -> bool:
            assert not _has_ended(self.running[name]), self.running[name].story()
            return 200 <= self.ask(numbers[action["port"]], action["path"])[0] < 400

        try:
            await eventually(succeeds, within=SOON)
        except AssertionError as error:
            raise AssertionError(
                f"{probe} of {name}: {error} {self.running[name].story()}"
            ) from None

    def ask(self, port: int, path: str) -> tuple[int, bytes]:
        """One request to the pod; status 0 where nobody answers. Blocks."""
        return asked_within(self.sandbox, port, path)

    async def terminate(self) -> dict[str, int]:
        """Apps first, then sidecars; how each ended."""
        spec = self.pod["spec"]
        names = [each["name"] for each in spec["containers"]]
        names += [each["name"] for each in reversed(spec.get("initContainers", []))]
        codes = {}
        for name in names:
            if not _has_ended(self.running[name]):
                grace = spec["terminationGracePeriodSeconds"]
                codes[name] = (await self.running[name].stop(within=grace)).code
        return codes

    def close(self) -> None:
        """After its containers: the memory is given back."""
        for each in reversed(self._mounted):
            subprocess.run(["umount", "--lazy", str(each)], check=True)

    # --- volumes ------------------------------------------------------------------------------

    def volume(self, name: str) -> Path:
        """Where a volume is on this host."""
        return self._folder / name

    def project(self, name: str) -> None:
        """Write a volume of files (again), as a kubelet does: whole, by one rename of `..data`."""
        volume, files = volumes(self.pod)[name], self.volume(name)
        generation = files / f"..{len(list(files.iterdir()))}"
        generation.mkdir()
        for key, text, mode in self._content(volume):
            file = generation / key
            file.write_text(text)
            os.chown(file, 0, self._group)
            file.chmod(mode)
            if not (files / key).is_symlink():
                (files / key).symlink_to(f"..data/{key}")
        (files / "..data_tmp").symlink_to(generation.name)
        (files / "..data_tmp").replace(files / "..data")

    @property
    def _group(self) -> int:
        return int(self.pod["spec"]["securityContext"]["fsGroup"])

    def _make_volumes(self) -> None:
        for name, volume in volumes(self.pod).items():
            self.volume(name).mkdir(parents=True)
            if "emptyDir" in volume:
                self._mount(self.volume(name), volume["emptyDir"])
            else:
                self.project(name)

    def _hosts_file(self) -> Path:
        """A kubelet mounts its own over the image's."""
        file = self._folder / "hosts"
        file.write_text(f"127.0.0.1 localhost\n{self._hosts}\n")
        return file

    def _mount(self, folder: Path, spec: Manifest) -> None:
        assert spec["medium"] == "Memory"
        number, unit = re.fullmatch(r"(\d+)(\w+)", spec["sizeLimit"]).groups()  # type: ignore[union-attr]
        options = f"size={number}{UNITS[unit]},mode=2777,gid={self._group}"
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        subprocess.run(command, check=True)
        self._mounted.append(folder)

    def _content(self, volume: Manifest) -> Iterator[tuple[str, str, int]]:
        for source in volume.get("projected", {}).get("sources", [volume]):
            if "serviceAccountToken" in source:
                # Not for everybody in the pod: containers of several users make it the group's.
                asked = source["serviceAccountToken"]
                yield asked["path"], self._token(asked), 0o640
            else:
                for key, text in self._maps[source["configMap"]["name"]].items():
                    yield key, text, 0o644

    # --- containers ---------------------------------------------------------------------------

    def _options(self, container: Manifest) -> Iterator[str]:
        spec, context = self.pod["spec"], container["securityContext"]
        pause = self.running["pause"].name
        yield f"--network=container:{pause}"
        if spec.get("shareProcessNamespace"):
            yield f"--pid=container:{pause}"
        yield f"--user={context['runAsUser']}:{context['runAsGroup']}"
        yield f"--group-add={self._group}"
        yield f"--memory={container['resources']['limits']['memory'].removesuffix('i')}"
        yield from ("--cap-drop=all", "--security-opt=no-new-privileges", "--no-healthcheck")
        if context["readOnlyRootFilesystem"]:
            yield from ("--read-only", "--read-only-tmpfs=false")
        if "command" in container:
            yield f"--entrypoint={container['command'][0]}"
        yield from (f"--env={each['name']}={each['value']}" for each in container.get("env", []))
        yield f"--volume={self._hosts_file()}:/etc/hosts:ro"
        for mount in container["volumeMounts"]:
            how = "ro" if mount.get("readOnly") else "rw"
            yield f"--volume={self.volume(mount['name'])}:{mount['mountPath']}:{how}"


def _has_ended(container: Container) -> bool:
    return container.process.returncode is not None
