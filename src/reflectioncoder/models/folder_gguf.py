"""Writes a model folder as a GGUF file for the time in which llama.cpp serves it."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from reflectioncoder.errors import UsageError
from reflectioncoder.paths import cache_dir

GGUF_DTYPE = "float16"


def require_gguf_writer() -> Callable[[Path, Path, str], None]:
    """Return what writes a folder as GGUF: (folder, path of the file, dtype).

    Raises:
        UsageError: this version cannot write GGUF files.
    """
    raise UsageError(
        "generate.backend: local needs the models of the run as GGUF files, which this version cannot write\n"
        "  hint:    generate.backend: transformers, or vllm on a GPU"
    )


@contextlib.contextmanager
def gguf_of_folder(folder: Path) -> Iterator[Path]:
    """Give the folder's model as a GGUF file, which is removed at the end.

    Raises (on entry):
        UsageError: the model cannot be written as GGUF.
    """
    write = require_gguf_writer()
    place = cache_dir() / "gguf"
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place) as scratch:
        gguf = Path(scratch) / f"{folder.name}.gguf"
        write(folder, gguf, GGUF_DTYPE)
        yield gguf
