"""Fuzz targets: whatever the bytes of a file, reading it returns, or ends in one sentence, at a bounded cost.

    python -m fuzz                           # all targets, 60 seconds together
    python -m fuzz masks lists --seconds 600

A target is a module of :mod:`fuzz.targets`; :mod:`fuzz.judge` says what counts as a crash.
"""
