"""Groups of commands that can be typed more freely than others."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

_EVERYWHERE = {
    "--database": True,
    "--pipeline": True,
    "--verbose": False,
    "--offline": False,
}  # and whether a value follows


class OptionsAnywhere(TyperGroup):
    """Lets the options of ``ozelot`` itself stand behind a command, too: ``ozelot status --database URL``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        first: list[str] = []
        rest: list[str] = []
        given = iter(args)
        for arg in given:
            if arg == "--":
                rest += [arg, *given]
            elif (name := arg.partition("=")[0]) not in _EVERYWHERE:
                rest.append(arg)
            else:
                first.append(arg)
                if _EVERYWHERE[name] and "=" not in arg:
                    value = next(given, None)
                    if value is None:
                        return super().parse_args(ctx, [arg])  # which says that its value is missing
                    first.append(value)
        return super().parse_args(ctx, first + rest)


class ShowsByDefault(TyperGroup):
    """A group whose first command, ``show``, need not be typed: ``ozelot history LoadMovies``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or args[0] not in {*self.commands, "--help"}:
            args = ["show", *args]
        return super().parse_args(ctx, args)
