"""Differential tracing: finds where a failing attempt diverges from its reference, from real runs of both."""

from reflectioncoder.builder.tracing.comparison import compare, diverge
from reflectioncoder.builder.tracing.divergence import Divergence, Facts, describe
from reflectioncoder.builder.tracing.frames import Trace, trace
from reflectioncoder.builder.tracing.probes import expression_probe, print_probe, probe_cell, shows, value_cell
from reflectioncoder.builder.tracing.statements import ProgramText

__all__ = [
    "Divergence",
    "Facts",
    "ProgramText",
    "Trace",
    "compare",
    "describe",
    "diverge",
    "expression_probe",
    "print_probe",
    "probe_cell",
    "shows",
    "trace",
    "value_cell",
]
