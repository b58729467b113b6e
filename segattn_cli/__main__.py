"""The console script: prepares the streams before anything opens a file, and imports the rest.

An import may be interrupted, or lack memory; both end in one sentence as they do later.
"""

from __future__ import annotations

import sys

from segattn_cli.commands.shared.streams import prepare_streams
from segattn_cli.errors import ExitCode, lacks_memory


def main() -> None:
    """Run ``segattn``."""
    prepare_streams()
    try:
        from segattn_cli import app
    except KeyboardInterrupt:
        _end("Interrupted.", ExitCode.INTERRUPTED)
    except (MemoryError, ImportError, OSError) as error:
        if not lacks_memory(error):
            raise
        _end("There is not enough memory to start: allow this process at least 500 MB.", ExitCode.MEMORY)
    app.main()


def _end(sentence: str, code: ExitCode) -> None:
    print(f"segattn: {sentence}", file=sys.stderr)
    sys.exit(int(code))


if __name__ == "__main__":
    main()
