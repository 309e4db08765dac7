"""The Every Eval Ever schemas, 0.2.2, as far as our results have to do with them: what is required, which values there are.

Written from the published description (evaleval/every_eval_ever). `problems` says where a document departs from one.
"""

from __future__ import annotations

from typing import Any

TEXT, NUMBER, WHOLE, FLAG = ({"type": name} for name in ("string", "number", "integer", "boolean"))
NUMBER_OR_NULL, TEXT_OR_NULL, ANY_OBJECT = {"type": ["number", "null"]}, {"type": ["string", "null"]}, {"type": "object"}
DETAILS = {"type": "object", "additionalProperties": TEXT}


def record(required: dict[str, Any], optional: dict[str, Any] | None = None, *, closed: bool = False) -> dict[str, Any]:
    known = {**required, **(optional or {})}
    return {"type": "object", "required": list(required), "properties": known, **({"additionalProperties": False} if closed else {})}


def listed(items: dict[str, Any], least: int = 0) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": least}


def one_of(*values: str) -> dict[str, Any]:
    return {"type": "string", "enum": list(values)}


SOURCE_DATA = {
    "oneOf": [
        record({"dataset_name": TEXT, "source_type": one_of("url"), "url": listed(TEXT, 1)}, {"additional_details": DETAILS}),
        record({"dataset_name": TEXT, "source_type": one_of("hf_dataset"), "hf_repo": TEXT}, {"additional_details": DETAILS}),
        record(
            {"dataset_name": TEXT, "source_type": one_of("other")},
            {"source_id": TEXT, "source_version": TEXT, "additional_details": DETAILS},
        ),
    ]
}
METRIC = record(  # a continuous score needs its ends
    {"lower_is_better": FLAG, "score_type": one_of("continuous"), "min_score": NUMBER, "max_score": NUMBER},
    {
        **dict.fromkeys(("evaluation_description", "metric_id", "metric_name", "metric_kind", "metric_unit"), TEXT),
        "metric_parameters": {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean", "null"]}},
        "additional_details": DETAILS,
    },
)
UNCERTAINTY = record(
    {},
    {
        "standard_error": record({"value": NUMBER}, {"method": TEXT}),
        "confidence_interval": record({"lower": NUMBER, "upper": NUMBER}, {"confidence_level": NUMBER, "method": TEXT}),
        "standard_deviation": NUMBER,
        "num_samples": WHOLE,
        "num_bootstrap_samples": WHOLE,
    },
)
GENERATION_ARGUMENTS = record(
    {},
    {
        **dict.fromkeys(("temperature", "top_p", "top_k"), NUMBER_OR_NULL),
        **dict.fromkeys(("max_tokens", "max_attempts"), WHOLE),
        **dict.fromkeys(("execution_command", "prompt_template", "incorrect_attempt_feedback"), TEXT),
        "reasoning": FLAG,
        **dict.fromkeys(("agentic_eval_config", "eval_plan", "eval_limits", "sandbox"), ANY_OBJECT),
    },
    closed=True,
)
RESULT = record(
    {
        "evaluation_name": TEXT,
        "source_data": SOURCE_DATA,
        "metric_config": METRIC,
        "score_details": record({"score": NUMBER}, {"details": DETAILS, "uncertainty": UNCERTAINTY}),
    },
    {
        "evaluation_result_id": TEXT,
        "evaluation_timestamp": TEXT,
        "generation_config": record({}, {"generation_args": GENERATION_ARGUMENTS, "additional_details": DETAILS}),
    },
)
EVALUATION = record(
    {
        "schema_version": TEXT,
        "evaluation_id": TEXT,
        "retrieved_timestamp": TEXT,
        "source_metadata": record(
            {
                "source_type": one_of("documentation", "evaluation_run"),
                "source_organization_name": TEXT,
                "evaluator_relationship": one_of("first_party", "third_party", "collaborative", "other"),
            },
            {"source_name": TEXT, "source_organization_url": TEXT, "additional_details": DETAILS},
        ),
        "eval_library": record({"name": TEXT, "version": TEXT}, {"additional_details": DETAILS}),
        "model_info": record(
            {"name": TEXT, "id": TEXT},
            {
                **dict.fromkeys(("developer", "inference_platform"), TEXT),
                "inference_engine": record({}, {"name": TEXT, "version": TEXT}),
                "additional_details": DETAILS,
            },
        ),
        "evaluation_results": listed(RESULT),
    },
    {
        "evaluation_timestamp": TEXT,
        "detailed_evaluation_results": record(
            {"format": one_of("jsonl"), "file_path": TEXT},
            {"hash_algorithm": one_of("sha256", "md5"), "checksum": TEXT, "total_rows": WHOLE, "additional_details": DETAILS},
        ),
    },
    closed=True,
)
INSTANCE = record(  # of one turn
    {
        **dict.fromkeys(("schema_version", "evaluation_id", "model_id", "evaluation_name", "sample_id"), TEXT),
        "interaction_type": one_of("single_turn"),
        "input": record({"raw": TEXT, "reference": listed(TEXT)}, {"formatted": TEXT}),
        "output": record({"raw": listed(TEXT)}),
        "answer_attribution": listed(
            record({"turn_idx": WHOLE, "source": TEXT, "extracted_value": TEXT, "extraction_method": TEXT, "is_terminal": FLAG})
        ),
        "evaluation": record({"score": NUMBER, "is_correct": FLAG}),
    },
    {
        "evaluation_result_id": TEXT,
        "sample_hash": TEXT_OR_NULL,
        "error": TEXT_OR_NULL,
        "metadata": {"type": ["object", "null"], "additionalProperties": TEXT},
    },
    closed=True,
)

_TYPES = {
    "string": str,
    "number": (int, float),
    "integer": int,
    "boolean": bool,
    "object": dict,
    "array": list,
    "null": type(None),
}


def problems(value: Any, schema: dict[str, Any], where: str = "") -> list[str]:
    """Return where a document departs from a schema, which has of JSON Schema what is used above."""
    if "oneOf" in schema:
        fitting = sum(not problems(value, option, where) for option in schema["oneOf"])
        return [] if fitting == 1 else [f"{where}: fits {fitting} of the schemas"]
    names = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if not any(isinstance(value, _TYPES[name]) and (name == "boolean") == isinstance(value, bool) for name in names):
        return [f"{where}: {value!r:.40} is no {names}"]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{where}: {value!r:.40} is none of {schema['enum']}"]
    if isinstance(value, list):
        short = [f"{where}: too few"] if len(value) < schema["minItems"] else []
        return [*short, *(found for n, item in enumerate(value) for found in problems(item, schema["items"], f"{where}[{n}]"))]
    return _of_object(value, schema, where) if isinstance(value, dict) else []


def _of_object(value: dict[str, Any], schema: dict[str, Any], where: str) -> list[str]:
    found = [f"{where}.{name}: missing" for name in schema.get("required", ()) if name not in value]
    known, other = schema.get("properties", {}), schema.get("additionalProperties", True)
    for name, item in value.items():
        if name in known:
            found += problems(item, known[name], f"{where}.{name}")
        elif other is False:
            found.append(f"{where}.{name}: there is no such name")
        elif isinstance(other, dict):
            found += problems(item, other, f"{where}.{name}")
    return found
