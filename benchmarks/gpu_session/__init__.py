"""One call on a machine with a GPU: tests, cross-checks, trainings, the tool, a record of the speed, sanitizers.

``python -m benchmarks.gpu_session --help`` explains how to call it; :mod:`.steps` is what it does.
"""
