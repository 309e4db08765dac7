"""Differential tracing: where a failing attempt parts from its reference, seen in real runs of both."""

from reflectioncoder.builder.tracing.comparison import compare, diverge
from reflectioncoder.builder.tracing.divergence import Divergence
from reflectioncoder.builder.tracing.frames import Trace, trace
from reflectioncoder.builder.tracing.statements import ProgramText

__all__ = ["Divergence", "ProgramText", "Trace", "compare", "diverge", "trace"]
