"""Differential tracing: where a failing attempt parts from its reference, seen in real runs of both."""

from reflectioncoder.builder.tracing.divergence import Divergence, compare, diverge
from reflectioncoder.builder.tracing.frames import Trace, trace
from reflectioncoder.builder.tracing.statements import ProgramText, align

__all__ = ["Divergence", "ProgramText", "Trace", "align", "compare", "diverge", "trace"]
