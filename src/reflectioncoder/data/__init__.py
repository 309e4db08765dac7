"""Samples, problems, files and rendering: all data handling that needs no model."""
