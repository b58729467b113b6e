"""Layouts of data sets, one file each, and their recognition."""
