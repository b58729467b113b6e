"""Layouts of data sets, one file each, and the registry that recognises them."""
