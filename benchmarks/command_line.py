"""What the scripts of this folder do with an error."""

from __future__ import annotations

import sys
from collections.abc import Callable

import typer

from backends import BackendError
from segattn_cli.errors import ExitCode, SegattnError


def run(command: Callable[..., None]) -> None:
    """Run ``command`` with Typer; an error that a user can cause is one sentence and its exit code."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(command)
    try:
        app()
    except SegattnError as error:
        _fail(error, error.exit_code)
    except BackendError as error:
        _fail(error, ExitCode.BACKEND)


def _fail(error: Exception, code: ExitCode) -> None:
    print(error, file=sys.stderr)
    sys.exit(int(code))
