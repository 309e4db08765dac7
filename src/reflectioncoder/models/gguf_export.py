"""Exports a model folder (Hugging Face layout, safetensors) to one GGUF file, which llama.cpp serves on a CPU.

Tensors are read, converted and written one at a time. `gguf_tensors` and `gguf_tokenizer` define which models and tokenizers are
supported: anything that llama.cpp would compute or encode differently is an error.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reflectioncoder.choices import GGUF_DTYPES, GgufDtype
from reflectioncoder.data.files import read_json, writing
from reflectioncoder.data.temporary import remove_abandoned, temporary_beside
from reflectioncoder.errors import UsageError, require, require_choice
from reflectioncoder.models.gguf_tensors import Layout
from reflectioncoder.models.gguf_tokenizer import Vocabulary
from reflectioncoder.models.load import load_config
from reflectioncoder.paths import cache_dir


def find_model(path: Path) -> Path:
    """Return the folder of a run's trained model, or `path` itself if it is a model folder.

    Raises:
        UsageError: it is neither.
    """
    found = next((folder for folder in (path / "model", path) if (folder / "config.json").is_file()), None)
    if found is None:
        raise UsageError(f"{path} is neither a run with a trained model nor a model: it has no config.json")
    return found


@contextlib.contextmanager
def gguf_of(folder: Path, dtype: GgufDtype) -> Iterator[Path]:
    """Export the model of a folder to a GGUF file in the user cache; the file is removed at the end of the block.

    Raises (on entry):
        UsageError: the model cannot be written as GGUF.
        MachineError: the disk is full.
    """
    with _scratch(cache_dir() / "gguf") as scratch:
        yield write_gguf(folder, scratch / f"{folder.resolve().name}-{dtype}.gguf", dtype)


@contextlib.contextmanager
def _scratch(place: Path) -> Iterator[Path]:
    """Yield a folder in `place` that is removed at the end, or by the next caller if this process is killed."""
    locks = require("filelock", "train")
    place.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        with locks.FileLock(f"{place}.lock"):  # held until the folder has its own lock
            for left in [found for found in place.glob("tmp*") if found.is_dir()]:
                with contextlib.suppress(locks.Timeout), locks.FileLock(f"{left}.lock", timeout=0):
                    shutil.rmtree(left, ignore_errors=True)
                    Path(f"{left}.lock").unlink(missing_ok=True)
            scratch = Path(tempfile.mkdtemp(dir=place, prefix="tmp"))
            stack.callback(Path(f"{scratch}.lock").unlink, missing_ok=True)
            stack.enter_context(locks.FileLock(f"{scratch}.lock"))
        stack.callback(shutil.rmtree, scratch, ignore_errors=True)
        yield scratch


def check_gguf(folder: Path) -> None:
    """Check, without reading weights, that the model of a folder can be written as GGUF.

    Raises:
        UsageError: its architecture or tokenizer is not supported.
    """
    config = load_config(folder)
    Layout(config)
    Vocabulary.of(folder, num_rows=config.vocab_size)


def write_gguf(folder: Path, path: Path, dtype: GgufDtype) -> Path:
    """Write the model of a folder to `path`, which appears only when complete; return `path`.

    Args:
        folder: contains weights in safetensors, configuration, tokenizer.
        dtype: of the matrices; vectors are float32.

    Raises:
        UsageError: no such model, an unsupported architecture or tokenizer, or weights out of the dtype's range.
        MachineError: the disk is full.
    """
    require_choice("GGUF type", dtype, GGUF_DTYPES)
    gguf = require("gguf", "train")
    layout = Layout(load_config(folder))
    weights = Weights(folder)
    writer = gguf.GGUFWriter(None, layout.architecture)
    writer.add_name(folder.resolve().name)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16 if dtype == "f16" else gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    layout.describe(writer)
    names = layout.names(iter(weights.files))
    Vocabulary.of(folder, num_rows=weights.shape("model.embed_tokens.weight")[0]).write(writer)
    temporary = temporary_beside(path)
    with writing(path), contextlib.ExitStack() as stack:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(path)
        stack.callback(temporary.unlink, missing_ok=True)
        stack.callback(writer.close)
        _write_file(writer, temporary, layout, weights, names, dtype)
        os.replace(temporary, path)
    return path


class Weights:
    """The tensors of a folder, in one file or in several with an index.

    Attributes:
        files: the file of each tensor.

    Raises:
        UsageError: the folder has no safetensors, or one of the files is missing.
    """

    def __init__(self, folder: Path):
        index = folder / "model.safetensors.index.json"
        names = sorted(set(read_json(index)["weight_map"].values())) if index.is_file() else ["model.safetensors"]
        self.files: dict[str, Path] = {}
        for file in (folder / name for name in names):
            if not file.is_file():
                raise UsageError(f"GGUF is written from safetensors: file not found: {file}")
            with self._opened(file) as opened:
                self.files |= dict.fromkeys(opened.keys(), file)

    @contextlib.contextmanager
    def _opened(self, file: Path) -> Iterator[Any]:
        with require("safetensors", "train").safe_open(file, framework="pt") as opened:
            yield opened

    def shape(self, name: str) -> list[int]:
        if name not in self.files:
            raise UsageError(f"GGUF cannot be written: the model has no tensor {name}")
        with self._opened(self.files[name]) as opened:
            return opened.get_slice(name).get_shape()

    def tensor(self, name: str) -> Any:
        """Read a tensor as float32."""
        with self._opened(self.files[name]) as opened:
            return opened.get_tensor(name).float()


def _write_file(writer: Any, path: Path, layout: Layout, weights: Weights, names: dict[str, str], dtype: GgufDtype) -> None:
    """Write header, metadata and tensors. The header contains the size of every tensor, so it is complete before any is read."""
    numpy, gguf = require("numpy", "train"), require("gguf", "train")
    factors = layout.rope_factors()
    if factors is not None:
        writer.add_tensor_info("rope_freqs.weight", (len(factors),), numpy.dtype("float32"), 4 * len(factors))
    types = {name: _type_of(weights.shape(name), dtype) for name in names}
    for name, target in names.items():
        shape = weights.shape(name)
        block, num_bytes = gguf.GGML_QUANT_SIZES[types[name]]
        writer.add_tensor_info(target, shape, numpy.dtype("float32"), numpy.prod(shape) // block * num_bytes, types[name])
    writer.write_header_to_file(path)
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    if factors is not None:
        _write_tensor(writer, numpy.array(factors, numpy.float32))
    for name in names:
        values = layout.arranged(name, weights.tensor(name)).numpy()
        with numpy.errstate(over="ignore"):
            is_held = numpy.isfinite(values if values.ndim == 1 else values.astype(numpy.float16)).all()
        if not is_held:
            raise UsageError(f"GGUF cannot be written: {name} holds weights that {dtype} cannot hold (above 65504, or no numbers)")
        _write_tensor(writer, gguf.quants.quantize(values, types[name]))
    writer.flush()
    with open(path, "rb") as written:
        os.fsync(written.fileno())


def _write_tensor(writer: Any, values: Any) -> None:
    """Append a tensor. `writer.write_tensor_data` would not notice a full disk."""
    (file,) = writer.fout
    writer.write_padding(file, file.tell())
    file.write(values.data)
    writer.write_padding(file, values.nbytes)


def _type_of(shape: list[int], dtype: GgufDtype) -> Any:
    """Return the GGUF type of a tensor; Q8_0 needs rows made of whole blocks."""
    types = require("gguf", "train").GGMLQuantizationType
    if len(shape) == 1:
        return types.F32
    return types.Q8_0 if dtype == "q8_0" and shape[-1] % 32 == 0 else types.F16
