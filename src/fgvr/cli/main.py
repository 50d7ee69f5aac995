"""``fgvr``: the verbs, what happens to their errors, and the exit codes.

0 done; 1 something failed; 2 the input or the command is wrong; 3 the spending cap stopped the run (what finished is
kept); 130 interrupted.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from fgvr import __version__
from fgvr.cli.console import exit_code, note, set_up_logging, show_error
from fgvr.cli.verbs import VERBS, LateCommands
from fgvr.errors import FgvrError


class Verbs(TyperGroup):
    """The command group; errors raised on purpose become one clean block and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the verb."""
        try:
            return super().invoke(ctx)
        except FgvrError as error:
            show_error(error)
            raise typer.Exit(exit_code(error)) from error
        except KeyboardInterrupt as error:
            note("\ninterrupted; finished work is kept. Resume with the same command.")
            raise typer.Exit(130) from error
        except BrokenPipeError as error:
            # The reader of our output went away (``| head``). Python would complain again when it flushes at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from error
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            note(f"error: cannot write: {error.strerror}")
            note("  -> Free some space, then run the same command again; finished work is kept.")
            os.dup2(
                os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
            )  # what is left unwritten would complain again
            raise typer.Exit(1) from error


class AllVerbs(Verbs):
    """The verbs of ``fgvr.cli.verbs``, loaded when they are called."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = LateCommands()

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The table of the help, without loading a verb."""
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


app = typer.Typer(
    name="fgvr",
    cls=AllVerbs,
    help="Fine-grained visual recognition with multimodal LLMs: from a folder of photographs to a named classifier.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fgvr {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more about what is going on.")] = False,
) -> None:
    """Fine-grained visual recognition with multimodal LLMs: from a folder of photographs to a named classifier."""
    set_up_logging(verbose=verbose)


def main() -> None:
    """The ``fgvr`` command."""
    app()


if __name__ == "__main__":
    main()
