"""Writes Every Eval Ever, the EvalEval coalition's evaluation schema: a file of results, and a second file with one line per sample.

Published as `eval.schema.json` 0.2.2 and `instance_level_eval.schema.json` 0.2.2. The schema wants additional details as strings.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from reflectioncoder import __version__
from reflectioncoder.data.files import sha256_file, write_json, write_jsonl
from reflectioncoder.evaluate.judges.base import Row
from reflectioncoder.evaluate.results import headline
from reflectioncoder.evaluate.score import SampleToScore
from reflectioncoder.result_formats.scoring import UNKNOWN, Scoring, k_of

SCHEMA_VERSION = "0.2.2"
_ENGINES = {"transformers": "transformers", "local": "llama.cpp", "vllm": "vllm"}


def write_eee(scoring: Scoring, directory: Path, stem: str) -> list[Path]:
    """Write `<stem>.eee.json` and `<stem>.eee.jsonl`."""
    instances = write_jsonl(directory / f"{stem}.eee.jsonl", instance_rows(scoring))
    detailed = {
        "format": "jsonl",
        "file_path": instances.name,
        "hash_algorithm": "sha256",
        "checksum": sha256_file(instances),
        "total_rows": len(scoring.rows),
    }
    log = {**evaluation_log(scoring), "detailed_evaluation_results": detailed}
    return [write_json(directory / f"{stem}.eee.json", log), instances]


def evaluation_log(scoring: Scoring) -> dict[str, Any]:
    """Return the results of a scoring. The evaluator and the model's developer are recorded as unknown."""
    return {
        "schema_version": SCHEMA_VERSION,
        "evaluation_id": _evaluation_id(scoring),
        "evaluation_timestamp": _timestamp(scoring),
        "retrieved_timestamp": _timestamp(scoring),
        "source_metadata": {
            "source_name": "ReflectionCoder",
            "source_type": "evaluation_run",
            "source_organization_name": UNKNOWN,
            "evaluator_relationship": "other",
        },
        "eval_library": {"name": "reflectioncoder", "version": __version__, "additional_details": _conditions(scoring)},
        "model_info": _model_info(scoring),
        "evaluation_results": [_result(scoring, metric) for metric in scoring.results["metrics"]],
    }


def instance_rows(scoring: Scoring) -> list[dict[str, Any]]:
    """Return one row per sample, scored like the headline number: pass@1 by all tests."""
    result_id = _result_id(scoring, headline(scoring.results))
    return [_instance(scoring, sample, row, result_id) for sample, row in scoring.pairs()]


def _instance(scoring: Scoring, sample: SampleToScore, row: Row, result_id: str) -> dict[str, Any]:
    asked = scoring.requests[row["task_id"]].instruction
    references = [sample.task.canonical_solution] if sample.task.canonical_solution else []
    found = {
        "turn_idx": 0,
        "source": "output.raw",
        "extracted_value": sample.solution,
        "extraction_method": sample.extraction,
        "is_terminal": True,
    }
    passed = row["status"] == "passed"
    return {
        "schema_version": f"instance_level_eval_{SCHEMA_VERSION}",
        "evaluation_id": _evaluation_id(scoring),
        "model_id": scoring.model,
        "evaluation_name": scoring.benchmark.name,
        "evaluation_result_id": result_id,
        "sample_id": row["task_id"],
        "sample_hash": hashlib.sha256((asked + "".join(references)).encode("utf-8", "surrogatepass")).hexdigest(),
        "interaction_type": "single_turn",
        "input": {"raw": asked, "reference": references},
        "output": {"raw": [sample.answer]},
        "answer_attribution": [found] if sample.solution.strip() else [],
        "evaluation": {"score": float(passed), "is_correct": passed},
        "error": "sandbox_error" if row["status"] == "sandbox_error" else None,
        "metadata": {"sample": str(sample.sample), "status": row["status"], "program_s": str(row["duration_s"])},
    }


def _result(scoring: Scoring, metric: dict[str, Any]) -> dict[str, Any]:
    k = k_of(metric)
    name = scoring.benchmark.name if metric["subset"] is None else f"{scoring.benchmark.name} ({metric['subset']})"
    one_each = metric["num_samples"] == metric["num_tasks"]
    return {
        "evaluation_result_id": _result_id(scoring, metric),
        "evaluation_name": name,
        "source_data": _source_data(scoring),
        "metric_config": {
            "evaluation_description": scoring.benchmark.facts.measures,
            "metric_id": f"pass_at_{k}",
            "metric_name": metric["name"],
            "metric_kind": "pass_rate",
            "metric_unit": "proportion",
            "metric_parameters": {"k": k},
            "lower_is_better": False,
            "score_type": "continuous",
            "min_score": 0,
            "max_score": 1,
        },
        "score_details": {
            "score": metric["value"],
            "details": {"num_tasks": str(metric["num_tasks"]), "num_samples": str(metric["num_samples"])},
            "uncertainty": {
                "standard_error": {"value": scoring.error_of(metric), "method": "analytic"},
                "confidence_interval": {
                    "lower": metric["ci_low"],
                    "upper": metric["ci_high"],
                    "confidence_level": scoring.results["confidence"],
                    "method": "Wilson" if one_each else "percentile bootstrap over tasks; Wilson where all tasks are alike",
                },
                "num_samples": metric["num_tasks"],
            },
        },
        **_generation(scoring),
    }


def _source_data(scoring: Scoring) -> dict[str, Any]:
    benchmark = scoring.benchmark
    details = {"version": benchmark.version, "sha256": benchmark.sha256, "num_tasks": str(len(benchmark.tasks))}
    said = {"dataset_name": benchmark.name, "additional_details": {name: text for name, text in details.items() if text}}
    if benchmark.url:
        return {**said, "source_type": "url", "url": [benchmark.url]}
    return {**said, "source_type": "other", "source_id": benchmark.sha256, "source_version": benchmark.version}


def _generation(scoring: Scoring) -> dict[str, Any]:
    """Return how the answers were generated; empty for samples read from a file."""
    sampling = scoring.results["sampling"]
    if sampling is None:
        return {}
    drawn = {"top_p": sampling["top_p"]} if sampling["temperature"] else {}
    arguments = {"temperature": sampling["temperature"], "max_tokens": sampling["max_new_tokens"], **drawn}
    details = {name: _text(sampling[name]) for name in ("seed", "num_samples", "finish_reasons")}
    return {"generation_config": {"generation_args": arguments, "additional_details": details}}


def _model_info(scoring: Scoring) -> dict[str, Any]:
    info: dict[str, Any] = {"name": scoring.model, "id": scoring.model}
    developer, slash, _ = scoring.model.partition("/")
    if slash and "://" not in scoring.model:  # the address of a server
        info["developer"] = developer
    described = scoring.results["model"]
    if described is None:
        return info
    if engine := _ENGINES.get(described.get("backend", "transformers")):
        info["inference_engine"] = {"name": engine}
    # A server's address and extra request fields may be private.
    details = {name: described[name] for name in ("rendering", "device", "dtype", "assistant_prefix") if described.get(name)}
    return {**info, "additional_details": {name: _text(value) for name, value in details.items()}}


def _conditions(scoring: Scoring) -> dict[str, str]:
    results = scoring.results
    sandbox = results["sandbox"]
    rules = {"rules": results["rules"]} if results["rules"] else {}
    return {
        "isolation": sandbox["isolation"]["name"],
        "limits": _text(sandbox["limits"]),
        "python": results["env"]["python"],
        "statuses": _text(results["counts"]),
        **rules,
    }


def _evaluation_id(scoring: Scoring) -> str:
    return f"{scoring.benchmark.name}/{scoring.model}/{_timestamp(scoring)}"


def _result_id(scoring: Scoring, metric: dict[str, Any]) -> str:
    subset = "" if metric["subset"] is None else f"/{metric['subset']}"
    return f"{scoring.benchmark.name}{subset}/{metric['name']}"


def _timestamp(scoring: Scoring) -> str:
    return f"{scoring.written_s:.3f}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
