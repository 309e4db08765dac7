"""Renders training files once, into Arrow files of the user cache that later runs and all processes memory-map.

The cache key covers everything that token ids and spans depend on: contents of the files, tokenizer files, rendering, and versions
of the tokenizing libraries. A cache folder is either complete or absent.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.metadata as metadata
import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from reflectioncoder.config.declarations import ModelConfig
from reflectioncoder.data.files import content_hash, explain_full_disk, read_json, sha256_file, write_json
from reflectioncoder.data.render import Renderer, Span, answer_bounds, tokens_in_batches
from reflectioncoder.data.rendered import RenderedSamples, span_numbers
from reflectioncoder.data.samples import Sample, operators_of
from reflectioncoder.errors import MachineError, ReflectionCoderError, UsageError, require
from reflectioncoder.models.tokens import RENDERERS, make_renderer, training_tokenizer
from reflectioncoder.paths import cache_dir
from reflectioncoder.progress import say
from reflectioncoder.sandbox.pool import default_workers

_FORMAT = 2  # version of the columns and of the rendered tokens: increase it when either changes
_BYTES_A_PROCESS = 8 * 2**20  # of input that make one more process worthwhile
_BYTES_A_PART = 2**21  # of splittable files; a compressed file is a single part, and so is a Parquet row group
_SAMPLES_A_TABLE = 512  # that a process holds in memory at a time, as Python objects
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack", ".onnx")  # other files may belong to the tokenizer
_CONTENTS = "contents.json"
_FAILURE = "failure.json"
_ERRORS: dict[str, type[ReflectionCoderError]] = {"UsageError": UsageError, "MachineError": MachineError}


class SamplePart(Protocol):
    """A part of a set that another process can read."""

    def samples(self) -> Iterator[Sample]: ...


class SampleSet(Protocol):
    """A set of samples in files: `identity` is a key of its content; the samples of `parts`, in order, are the whole set."""

    @property
    def identity(self) -> str: ...
    @property
    def num_bytes(self) -> int: ...
    def parts(self, num_parts: int) -> Sequence[SamplePart]: ...


def render_files(sets: Sequence[SampleSet], model: ModelConfig, path: Path, max_length: int) -> RenderedSamples:
    """Return the rendered samples of all sets, rendering those that are not in the cache yet.

    Args:
        path: folder of the model that provides the tokenizer.
        max_length: maximum tokens; longer samples are left out.

    Raises:
        UsageError: a malformed row, or one without a trained token.
        MachineError: the disk is full.
    """
    pyarrow = require("pyarrow", "train")
    tables = [_table([], [])]
    for one in sets:
        if one.num_bytes:
            folder = cache_dir() / "rendered" / _key(one, model, path)
            tables.append(_open(folder) or _rendered(one, model, path, folder))
    header_is_trained = RENDERERS[model.rendering].header_is_trained
    return RenderedSamples(pyarrow.concat_tables(tables), header_is_trained=header_is_trained, max_length=max_length)


def _key(one: SampleSet, model: ModelConfig, path: Path) -> str:
    files = [file for file in sorted((*path.iterdir(), *path.glob("*/*.jinja"))) if file.is_file() and file.suffix not in _WEIGHTS]
    tokenizer = [(str(file.relative_to(path)), sha256_file(file)) for file in files]
    versions = [metadata.version(name) for name in ("tokenizers", "transformers")]
    return content_hash(_FORMAT, one.identity, model.rendering, tokenizer, versions)


def _open(folder: Path) -> Any | None:
    """Map a cache folder into memory; return None if it is absent or damaged."""
    if not (folder / _CONTENTS).is_file():
        return None
    pyarrow = require("pyarrow", "train")
    try:
        said = read_json(folder / _CONTENTS)
        tables = [pyarrow.ipc.open_stream(pyarrow.memory_map(str(folder / name))).read_all() for name in said["files"]]
        table = pyarrow.concat_tables([_table([], []), *tables])
        if table.num_rows != said["num_rows"]:
            raise ValueError(f"{table.num_rows} rows")
        return table
    except (UsageError, OSError, ValueError, LookupError, TypeError):  # pyarrow's errors derive from ValueError and OSError
        return None


def _rendered(one: SampleSet, model: ModelConfig, path: Path, folder: Path) -> Any:
    """Render a set into the cache unless another process has done so meanwhile."""
    lock = require("filelock", "train")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with lock.FileLock(f"{folder}.lock"):
        found = _open(folder)
        if found is None:
            if folder.exists():
                say(f"train: the rendered samples in {folder} are damaged and are made anew")
            for stale in (folder, *folder.parent.glob(f".{folder.name}.*")):  # damaged, or left by a killed process
                shutil.rmtree(stale, ignore_errors=True)
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch, explain_full_disk(folder.parent):
                _write(one, model, path, Path(scratch))
                os.rename(scratch, folder)
                os.mkdir(scratch)  # for the context manager to remove
            found = _open(folder)
    if found is None:
        raise MachineError(f"what was written to {folder} cannot be read back")
    return found


def _write(one: SampleSet, model: ModelConfig, path: Path, folder: Path) -> None:
    datasets: Any = require("datasets", "train")
    num_proc = num_render_processes(one.num_bytes)
    parts = one.parts(-(-one.num_bytes // _BYTES_A_PART))
    say(f"train: rendering {one.num_bytes / 1e6:.1f} MB of samples in {num_proc} process{'es' if num_proc > 1 else ''}")
    integers = datasets.List(datasets.Value("int32"))
    columns = {"input_ids": integers, "spans": integers, "answer": integers, "name": datasets.Value("string")}
    columns["operators"] = datasets.List(datasets.Value("string"))
    work = partial(_columns, parts=parts, rendering=model.rendering, path=path, failure=folder / _FAILURE)
    try:
        with _quiet(datasets):
            made = datasets.Dataset.from_dict({"part": range(len(parts))}).map(
                work,
                batched=True,
                batch_size=1,
                remove_columns=["part"],
                features=datasets.Features(columns),
                num_proc=num_proc if num_proc > 1 else None,
                cache_file_name=str(folder / "samples.arrow"),
                new_fingerprint="rendered",
            )
    except Exception:
        _raise_what_was_said(folder / _FAILURE)
        raise
    files = [Path(file["filename"]).name for file in made.cache_files]
    write_json(folder / _CONTENTS, {"files": files, "num_rows": made.num_rows})


def _columns(batch: dict[str, list[int]], parts: Sequence[SamplePart], rendering: str, path: Path, failure: Path) -> Any:
    """Return the Arrow table of a part's samples, in a worker process; on an error, record the reason in the file `failure`."""
    gc.freeze()  # keeps the collector from scanning all imported objects each time
    try:
        samples = (sample for number in batch["part"] for sample in parts[number].samples())
        renderer, tables = _renderer(path, rendering, failure.parent), [_table([], [])]
        while some := list(itertools.islice(samples, _SAMPLES_A_TABLE)):
            tokens = list(tokens_in_batches(renderer, some))
            tables.append(_table(some, tokens, header_is_trained=renderer.header_is_trained))
        return require("pyarrow", "train").concat_tables(tables)
    except ReflectionCoderError as error:
        write_json(failure, {"kind": type(error).__name__, "message": str(error)})
        raise
    finally:
        gc.unfreeze()


@lru_cache(maxsize=1)
def _renderer(path: Path, rendering: str, folder: Path) -> Renderer:
    """Load the renderer once for all parts that go to `folder`; another folder reloads it, as the model's files may have changed."""
    return make_renderer(rendering, training_tokenizer(path, rendering))


def _table(samples: Sequence[Sample], tokens: Sequence[tuple[list[int], list[Span]]], *, header_is_trained: bool = True) -> Any:
    """Return samples with their tokens and spans as an Arrow table."""
    pyarrow = require("pyarrow", "train")

    def lists(rows: Sequence[Sequence[int]]) -> Any:
        offsets = np.cumsum([0, *map(len, rows)], dtype=np.int32)
        values = np.fromiter(itertools.chain.from_iterable(rows), np.int32, offsets[-1])
        return pyarrow.ListArray.from_arrays(pyarrow.array(offsets), pyarrow.array(values))

    answers = [
        answer_bounds(spans, header_is_trained=header_is_trained) if sample.type == "reflection" else (0, 0)
        for sample, (_, spans) in zip(samples, tokens, strict=True)
    ]
    columns = {
        "input_ids": lists([ids for ids, _ in tokens]),
        "spans": lists([span_numbers(spans) for _, spans in tokens]),
        "answer": lists(answers),
        "name": pyarrow.array([sample.id or "" for sample in samples], pyarrow.string()),
        "operators": pyarrow.array([operators_of(sample) for sample in samples], pyarrow.list_(pyarrow.string())),
    }
    return pyarrow.table(columns)


def num_render_processes(num_bytes: int) -> int:
    """Return how many processes render `num_bytes` of input: one per core, if each gets enough to do."""
    return max(1, min(default_workers(), num_bytes // _BYTES_A_PROCESS))


def _raise_what_was_said(failure: Path) -> None:
    if failure.is_file():
        said = read_json(failure)
        raise _ERRORS.get(said["kind"], ReflectionCoderError)(said["message"]) from None


@contextlib.contextmanager
def _quiet(datasets: Any) -> Iterator[None]:
    """Silence the progress bars of `datasets` and the fork warning of `tokenizers`."""
    shown = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    name, before = "TOKENIZERS_PARALLELISM", os.environ.get("TOKENIZERS_PARALLELISM")
    os.environ[name] = before or "false"
    try:
        yield
    finally:
        if shown:
            datasets.enable_progress_bars()
        if before is None:
            del os.environ[name]
