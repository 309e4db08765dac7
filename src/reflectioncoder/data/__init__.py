"""Samples, problems, files, rendering: everything that is data and needs no model."""
