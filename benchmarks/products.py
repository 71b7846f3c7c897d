"""The servers compared: where they live, how the incumbent's environment is made, which versions are in it."""

import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
CACHE = REPOSITORY / ".cache" / "bench"

_INCUMBENT_PACKAGES = ("mlserver==1.7.1", "mlserver-sklearn==1.7.1", "uvloop==0.21.*")
"""uvloop is held back because the incumbent's default worker dies at start with later ones."""

_SHOWN_PACKAGES = ("mlserver", "mlserver-sklearn", "scikit-learn", "numpy", "uvloop", "pydantic", "joblib")


@dataclass(frozen=True, slots=True)
class Product:
    """A server under measurement: the `bin` folder of its environment, and settings which only it knows."""

    name: str
    title: str
    bin: Path
    settings: Mapping[str, object] = field(default_factory=dict)
    kafka_settings: Mapping[str, object] = field(default_factory=dict)
    chooses_delivery: bool = False
    """Whether its promise over Kafka is a setting."""

    @property
    def command(self) -> Path:
        """Its `mlserver` console script."""
        return self.bin / "mlserver"

    @property
    def python(self) -> Path:
        """The interpreter of its environment."""
        return self.bin / "python"


OURS = Product(
    "ours",
    "this server",
    Path(sys.prefix) / "bin",
    # The backlog is made while the server is stopped, which must not cost it its group membership: longer than that.
    kafka_settings={"kafka_consumer_config": {"session.timeout.ms": 120_000}},
    chooses_delivery=True,
)
INCUMBENT = Product("incumbent", "MLServer 1.7.1", CACHE / "incumbent-venv" / "bin")


def prepare_incumbent() -> None:
    """Make the incumbent's environment with pip, once; a half-made one is made anew."""
    folder = INCUMBENT.bin.parent
    done = folder / ".installed"
    if done.exists() and done.read_text() == "\n".join(_INCUMBENT_PACKAGES):
        return
    print("making the incumbent's environment (once) ...", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([_incumbent_python(), "-m", "venv", str(folder)], check=True)
    pip = [str(INCUMBENT.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *_INCUMBENT_PACKAGES], check=True)
    done.write_text("\n".join(_INCUMBENT_PACKAGES))


def _incumbent_python() -> str:
    """An interpreter that the incumbent supports (before 3.13): this one where possible."""
    major, minor = (int(part) for part in platform.python_version_tuple()[:2])
    if (major, minor) < (3, 13):
        return sys.executable
    for name in ("python3.12", "python3.11"):
        if path := shutil.which(name):
            return path
    raise RuntimeError("the incumbent needs Python 3.11 or 3.12; use --peer none to measure without it")


def train(product: Product) -> Path:
    """Train the digits model inside the product's environment; the folder with it and its own predictions."""
    folder = CACHE / f"digits-{product.name}"
    folder.mkdir(parents=True, exist_ok=True)
    script = REPOSITORY / "benchmarks" / "models" / "train_digits.py"
    subprocess.run([str(product.python), str(script), str(folder)], check=True)
    return folder


def versions(product: Product) -> dict[str, str]:
    """Python's and the main packages' versions inside the product's environment (absent packages left out)."""
    result = subprocess.run(
        [str(product.python), "-c", _VERSIONS, *_SHOWN_PACKAGES], check=True, capture_output=True, text=True
    )
    found: dict[str, str] = json.loads(result.stdout)
    return found


_VERSIONS = """
import json, platform, sys
from importlib.metadata import PackageNotFoundError, version
found = {"python": platform.python_version()}
for name in sys.argv[1:]:
    try:
        found[name] = version(name)
    except PackageNotFoundError:
        pass
print(json.dumps(found))
"""
