"""How commands show their help: a metavar stands for a value, and a flag, which takes none, has no metavar."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup

from segattn_cli.errors import UsageError


class Command(TyperCommand):
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Of an option that ``train`` has as a key of the configuration alone, the error names the key."""
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            option = getattr(error, "option_name", "")
            if self.name != "train" or type(error).__name__ != "NoSuchOption":
                raise
            from segattn_cli.config.messages import meant_key

            key = meant_key(option.lstrip("-").replace("-", "_"))
            if key is None:
                raise
            raise UsageError(f"There is no option {option}: set the key by --set {key}=VALUE.") from None

    def get_params(self, ctx: Any) -> list[Any]:
        return _without_types(super().get_params(ctx))


class Group(TyperGroup):
    def get_params(self, ctx: Any) -> list[Any]:
        return _without_types(super().get_params(ctx))


def _without_types(params: list[Any]) -> list[Any]:
    """Newer versions of Typer would show ``<bool>`` beside a flag and ``<list[str]>`` beside an argument."""
    for param in params:
        if param.param_type_name == "argument":
            param.display_type_rich = lambda ctx: None
        elif param.is_flag:
            param.metavar = ""
    return params
