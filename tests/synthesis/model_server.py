"""A real OpenAI-compatible server, ``transformers serve``, that a test may kill and start again."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest

START_UP_S = 120


class ModelServer:
    """Serves the model in a folder, under the folder's name, on a port that stays the same."""

    def __init__(self, model: Path, home: Path) -> None:
        for package in ("openai", "fastapi", "uvicorn"):
            pytest.importorskip(package)
        self.name = str(model)
        self.log = home / "server.log"
        (home / "hub").mkdir(parents=True, exist_ok=True)
        self._environment = {**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        with closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.base_url = f"http://127.0.0.1:{self._port}/v1"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it answers; fails the test when it does not."""
        command = [str(Path(sys.executable).with_name("transformers")), "serve", self.name]
        with self.log.open("a") as stream:
            self._process = subprocess.Popen(
                [*command, "--host", "127.0.0.1", "--port", str(self._port), "--device", "cpu"],
                env=self._environment,
                stdout=stream,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + START_UP_S
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/health", timeout=5):
                    return
            except OSError:
                time.sleep(0.2)
        pytest.fail(f"transformers serve did not start:\n{self.log.read_text()}")

    def kill(self) -> None:
        """End it at once, whatever it is doing."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def requests(self) -> int:
        """Chat completions in the server's own log."""
        return self.log.read_text().count("POST /v1/chat/completions")
