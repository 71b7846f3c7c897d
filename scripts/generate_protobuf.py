"""Writes the Python modules of src/mlserver/wire/protobuf/*.proto: `python scripts/generate_protobuf.py`.

A module holds its file's descriptor and hands it to our own descriptor pool; the stub beside it is for type checkers.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

SRC = Path(__file__).parents[1] / "src"
FOLDER = SRC / "mlserver" / "wire" / "protobuf"

# protoc's stubs leave the types of mappings open.
_STUB_HEAD = '# mypy: disable-error-code="type-arg"\n'
_HEAD = '"""Written by scripts/generate_protobuf.py."""\n\nfrom mlserver.wire.protobuf.pool import define\n'
# Bytes per line: each takes at most four characters, and a line at most 120.
_PIECE_BYTES = 24


def generated() -> dict[str, str]:
    """The text of each file to write, by its name."""
    files = {}
    protos = [str(path.relative_to(SRC)) for path in sorted(FOLDER.glob("*.proto"))]
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch)
        options = [f"-I{SRC}", f"--descriptor_set_out={out / 'set'}", f"--pyi_out={out}"]
        subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *options, *protos], check=True)
        for file in FileDescriptorSet.FromString((out / "set").read_bytes()).file:
            name = f"{Path(file.name).stem}_pb2.py"
            files[name] = _module(file)
            files[f"{name}i"] = _STUB_HEAD + (out / file.name).with_name(f"{name}i").read_text()
    return files


def _module(file: FileDescriptorProto) -> str:
    modules = [name.removesuffix(".proto").replace("/", ".") for name in file.dependency]
    imports = "".join(f"import {module}_pb2  # noqa: F401\n" for module in modules)
    data = file.SerializeToString(deterministic=True)
    pieces = (data[start : start + _PIECE_BYTES] for start in range(0, len(data), _PIECE_BYTES))
    lines = "".join(f"    {piece!r}\n" for piece in pieces)
    return f"{_HEAD}{imports}\ndefine(globals(), {file.name!r}, (\n{lines}))\n"


if __name__ == "__main__":
    for name, text in generated().items():
        (FOLDER / name).write_text(text)
