"""Causes of failures, derived from the diff to a passing program, from the attempt itself, and from its run."""

from reflectioncoder.builder.causes.cause import Cause, Repair
from reflectioncoder.builder.causes.observed import Observed, observed_causes, refined
from reflectioncoder.builder.causes.repairs import minimal_repair
from reflectioncoder.builder.causes.words import cause_sayings

__all__ = ["Cause", "Observed", "Repair", "cause_sayings", "minimal_repair", "observed_causes", "refined"]
