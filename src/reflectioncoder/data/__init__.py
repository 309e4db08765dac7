"""Holds samples, problems, files and rendering: everything that is data and needs no model."""
