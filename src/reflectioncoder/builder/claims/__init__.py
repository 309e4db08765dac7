"""Checks the claims of texts: each value and name against the executions, the code and the problem before it."""

from reflectioncoder.builder.claims.checking import Claim, ClaimCounts, check_blocks, check_sample, check_text, count_claims
from reflectioncoder.builder.claims.evidence import Evidence
from reflectioncoder.builder.claims.extraction import Stated, stated
from reflectioncoder.builder.claims.inventions import invented_output, inventions

__all__ = [
    "Claim",
    "ClaimCounts",
    "Evidence",
    "Stated",
    "check_blocks",
    "check_sample",
    "check_text",
    "count_claims",
    "invented_output",
    "inventions",
    "stated",
]
