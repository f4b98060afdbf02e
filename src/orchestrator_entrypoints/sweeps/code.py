"""Which code computes: a version may stand for several, while one is worked on."""

import hashlib
from pathlib import Path

import orchestrator_adapters
import orchestrator_core
import orchestrator_entrypoints


def code_digest() -> str:
    """Return what stands for this library's sources, as they are on disk."""
    digest = hashlib.sha256()
    for package in (orchestrator_core, orchestrator_adapters, orchestrator_entrypoints):
        [root] = map(Path, package.__path__)
        for path in sorted(root.rglob("*.py")):
            digest.update(f"{package.__name__}/{path.relative_to(root).as_posix()}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()
