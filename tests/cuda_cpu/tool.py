"""``python -m tests.cuda_cpu.tool train …`` runs the command line on the stand-in for CuPy."""

from __future__ import annotations

from segattn_cli.__main__ import main

from .stand_in import install

if __name__ == "__main__":
    install()
    main()
