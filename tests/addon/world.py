"""A session, its scripted clients, and a clock that the test moves."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from scripted import ScriptedClient, small_scene

from vitruvian_protocol.scene import Settings

session_module = import_module("vitruvian_addon.session")
jobs_module = import_module("vitruvian_addon.jobs")
connection = import_module("vitruvian_addon.connection")
job_words = import_module("vitruvian_addon.job_words")
fetching = import_module("vitruvian_addon.fetching")
problems = import_module("vitruvian_addon.problems")

TARGET = jobs_module.Target("file-1", "a.blend", "uid-1", "Body", "UVMap", "ab")
ENDPOINT = connection.Endpoint("tcp://127.0.0.1:1")


class World:
    """What a session sees."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clients: list[ScriptedClient] = []
        self.time = 100.0
        self.start()

    def start(self) -> None:
        """As after a restart of Blender: only what is on disk is left."""
        self.session = session_module.Session(self.folder, self._connect, lambda: self.time, lambda: 5.0)

    def _connect(self, endpoint: object) -> ScriptedClient:
        self.clients.append(ScriptedClient())
        return self.clients[-1]

    @property
    def client(self) -> ScriptedClient:
        return self.clients[-1]

    def online(self) -> None:
        self.session.use(ENDPOINT)
        self.client.greet()
        self.session.tick()

    def send(self) -> str:
        return self.session.generate(small_scene(), Settings("a man"), TARGET).id

    def kinds(self) -> list[str]:
        return [change.kind for change in self.session.tick()]
