"""Reference log-probabilities on disk, filed under what they depend on: a second run on the same computes nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from learnat.training.tries import TokenTrie


def cache_key(tries: Iterable[TokenTrie], settings: Mapping[str, str | int | None]) -> str:
    """Identifies the log-probs of ``tries``, in their order.

    It depends on the token ids and the shape of each trie (so on every node's path) and which nodes are supervised,
    not on pairs, rewards or weights. ``settings`` says whose log-probs they are (the weights' identity) and whatever
    changes their rounding.
    """
    digest = hashlib.sha256(json.dumps(dict(settings), sort_keys=True).encode())
    for trie in tries:
        shape = [(node.parent, node.supervised, len(node.ids)) for node in trie.nodes]
        ids = [token for node in trie.nodes for token in node.ids]
        digest.update(np.asarray(shape, np.int64).tobytes() + np.asarray(ids, np.int64).tobytes())
    return digest.hexdigest()[:32]


@dataclass(frozen=True)
class ReferenceCache:
    """The file of one key: a safetensors file with the log-probs and their checksum."""

    folder: Path
    key: str

    @property
    def path(self) -> Path:
        return self.folder / f"{self.key}.safetensors"

    def read(self, count: int) -> Tensor | None:
        """The ``count`` log-probs [N], or None where there is no file.

        Raises ``ValueError``, saying what is wrong, for a file that holds anything else.
        """
        if not self.path.is_file():
            return None
        try:
            with safe_open(self.path, "pt") as file:
                logprobs, checksum = file.get_tensor("logprobs"), (file.metadata() or {}).get("sha256")
        except (SafetensorError, OSError) as error:
            raise ValueError(str(error)) from error
        if checksum != _checksum(logprobs):
            raise ValueError("its checksum is another")
        if logprobs.shape != (count,):
            raise ValueError(f"it has shape {list(logprobs.shape)}, not [{count}]")
        return logprobs

    def write(self, logprobs: Tensor) -> None:
        """Keep ``logprobs`` [N]; a kill at any instant leaves the whole file or none. Raises ``OSError``."""
        self.folder.mkdir(parents=True, exist_ok=True)
        logprobs = logprobs.to(torch.float32).contiguous()
        # Runs of other machines may write the same file, so a process id would not do. Unlike a temporary file, one in
        # a temporary folder has the usual permissions: others may share the cache.
        with TemporaryDirectory(prefix=f"{self.key}.", suffix=".partial", dir=self.folder) as own:
            partial = Path(own) / self.path.name
            partial.write_bytes(save({"logprobs": logprobs}, metadata={"sha256": _checksum(logprobs)}))
            partial.replace(self.path)


def _checksum(logprobs: Tensor) -> str:
    return hashlib.sha256(logprobs.numpy().tobytes()).hexdigest()
