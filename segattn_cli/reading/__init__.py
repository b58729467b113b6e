"""The code and the papers as a reader meets them: the file of an op, taken apart, and the table of equations."""
