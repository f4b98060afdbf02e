"""Optional packages: asked for before the work that needs them, not after."""

from importlib.util import find_spec


class MissingExtra(Exception):
    """An optional package is not installed; says what to install."""


def require_extra(package: str, extra: str, *, why: str) -> None:
    """Return if the package can be imported.

    Args:
        package: Its name in an import.
        extra: Ours that brings it.
        why: What needs it, to begin a sentence.

    Raises:
        MissingExtra: It cannot.
    """
    if find_spec(package) is None:
        raise MissingExtra(
            f"{why} needs {package}, which is not installed: pip install 'orchestrator[{extra}]'"
        )
