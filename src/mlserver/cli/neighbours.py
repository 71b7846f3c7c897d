"""Distributions of another MLServer that are installed beside this one and get into its way."""

from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path

from mlserver.version import __version__

_RUNTIMES = (
    "sklearn", "xgboost", "lightgbm", "catboost", "mlflow", "mllib", "huggingface", "alibi-detect", "alibi-explain",
)  # fmt: skip


def warnings() -> Iterator[str]:
    """One line for each that is found, with what to do about it. Asked for by name, which takes milliseconds."""
    here = Path(__file__).parents[1]
    servers = list(distributions(name="mlserver"))
    for found in servers:
        if _is_another(found, here):
            yield (
                f"mlserver {found.version} is installed as well, in {found.locate_file('')}: the path decides which "
                f"one Python imports; pip uninstall mlserver, then install this one ({__version__}) again"
            )
    extras = {extra for found in servers if found.version == __version__ for extra in _extras(found)}
    for runtime in _RUNTIMES:
        for found in distributions(name=f"mlserver-{runtime}"):
            yield _about(found, runtime, runtime in extras)


def _is_another(found: Distribution, here: Path) -> bool:
    """Whether `found` has a package that is not this one. An editable installation has none in its own place."""
    package = Path(str(found.locate_file("mlserver")))
    there = (package / "__init__.py").is_file()
    return there and (package.resolve() != here.resolve() or found.version != __version__)


def _extras(found: Distribution) -> list[str]:
    return found.metadata.get_all("Provides-Extra") or []


def _about(found: Distribution, runtime: str, included: bool) -> str:
    name = f"mlserver-{runtime}"
    start = f"{name} {found.version} is installed, a runtime of another MLServer"
    if included:
        return (
            f"{start}: this one brings its own under the same module name, and the files of one replace the other's; "
            f"pip uninstall {name}, then install mlserver[{runtime}] again"
        )
    return f"{start}, which may not work with this one; where no model here needs it: pip uninstall {name}"
