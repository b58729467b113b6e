"""The reference: segmentation networks with dual attention and attention to scale, written to be read.

Read it from the bottom: :mod:`reference.ops` holds the mathematics, one op per file with its derivative below it;
``reference.layers`` gives ops their parameters; ``reference.networks`` builds the papers' networks from layers;
``reference.updates`` trains them. The package imports NumPy and nothing else.
"""
