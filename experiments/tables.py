"""Stage `summary`: Markdown tables of what results.jsonl holds so far."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from experiments.matmul import peak_tflops
from experiments.runner import Rows
from experiments.turns import median_seconds


def summary(rows: Rows) -> str:
    parts = [_machine(rows), _tests(rows)]
    parts += [_training(rows, group) for group in _groups(rows, "training")]
    parts += [_head(rows, group) for group in _groups(rows, "head")]
    parts.append("Not measured: several GPUs (data parallel, FSDP2, ZeRO). They are out of reach on one card.")
    return "\n\n".join(part for part in parts if part) + "\n"


def _groups(rows: Rows, stage: str) -> list[str]:
    return list(dict.fromkeys(key.rpartition("/")[0] for key in rows if key.startswith(f"{stage}/")))


def _table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, ["---"] * len(header), *lines))


def _machine(rows: Rows) -> str:
    found = rows.get("matmul/square/machine", {}).get("result")
    if found is None:
        return ""
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items() if version)
    peak = peak_tflops(rows)
    product = f"; fastest square product measured: {peak:.3g} TFLOP/s, the base of the MFU" if peak else ""
    return f"{found['device']}, Python {found['python']}, {versions}{product}."


def _tests(rows: Rows) -> str:
    lines = [
        (key.rpartition("/")[2], row.get("failed") or _counts(row["result"])) for key, row in rows.items() if key.startswith("tests/")
    ]
    return _table(("test", "result"), lines) if lines else ""


def _counts(found: dict[str, int]) -> str:
    return f"{found['failures'] + found['errors']} fail, {found['skipped']} skipped, of {found['tests']}"


def _training(rows: Rows, group: str) -> str:
    header = (group.partition("/")[2], "tokens/s", "times the first", "MFU", "peak", "forecast", "loss")
    seconds, peak = median_seconds(rows, group), peak_tflops(rows)
    first = next(iter(name for name in _names(rows, group) if name in seconds), None)
    lines = []
    for name in _names(rows, group):
        row = rows[f"{group}/{name}"]
        if "failed" in row:
            lines.append((name, row["failed"], *[""] * 5))
            continue
        found, own = row["result"], seconds.get(name)
        speed = ["", "", ""]
        if own and first:
            use = f"{found['useful_flops'] / own / peak / 1e10:.1f} %" if peak else ""
            speed = [f"{found['tokens'] / own:,.0f}", f"{seconds[first] / own:.2f}", use]
        lines.append((name, *speed, _gigabytes(found["peak_bytes"]), _gigabytes(found["forecast_bytes"]), f"{found['loss']:.5f}"))
    return _table(header, lines)


def _head(rows: Rows, group: str) -> str:
    seconds = median_seconds(rows, group)
    lines = []
    for name in _names(rows, group):
        row = rows[f"{group}/{name}"]
        if "failed" in row:
            lines.append((name, row["failed"], ""))
            continue
        found, own = row["result"], seconds.get(name)
        lines.append((name, f"{found['rows'] / own:,.0f}" if own else "", _gigabytes(found["peak_bytes"])))
    return _table((f"output layer of {group.partition('/')[2]}, rows at a time", "rows/s", "peak beyond the weights"), lines)


def _names(rows: Rows, group: str) -> list[str]:
    units = [key.rpartition("/")[2] for key in rows if key.rpartition("/")[0] == group]
    return [unit for unit in units if not unit.startswith("turn ")]


def _gigabytes(count: int | None) -> str:
    return "" if count is None else f"{count / 1e9:.3g} GB"
