"""Every verb of ``fgvr``, its place and its line in the help; a verb's module is loaded when the verb is called.

``fgvr --help`` and ``fgvr predict`` so cost nothing for the options of ``fgvr fit fine-r1``.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from importlib import import_module
from typing import Any

from typer import Typer
from typer.main import get_command, get_group

VERBS = {
    "label": "Name every image with an MLLM.",
    "fit": "Learn a classifier.",
    "predict": "Classify images with a fitted run.",
    "evaluate": "Score predictions against true names.",
    "report": "Write one HTML page about a run.",
    "demo": "Do the main job on a small drawn world.",
    "doctor": "Check this installation and say what to do.",
    "data": "Look through photographs and data sets.",
    "memory": "The memory a run retrieves from.",
    "regions": "Boxes of detection images.",
    "compare": "Vocabulary-free methods side by side.",
    "reproduce": "Published rows beside your own.",
    "fewshot": "Few-shot tables of retrieval and ranking.",
    "describe": "Describe labelled images by attributes.",
    "multiple-choice": "Multiple-choice accuracy of an MLLM.",
    "examine": "Accuracy on classes trained on and others.",
    "analyse": "What an MLLM makes of labelled pictures.",
    "fieldguide": "The drawn world.",
}
"""Name -> line of help. Module ``fgvr.cli.<name>`` has the group ``app`` or the function of that name."""


class LateCommands(MutableMapping[str, Any]):
    """Name -> command; loaded at the first look, then kept.

    Raises:
        KeyError: No verb has that name.
    """

    def __init__(self) -> None:
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            if name not in VERBS:
                raise KeyError(name)
            self._loaded[name] = load(name)
        return self._loaded[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._loaded[name] = command

    def __delitem__(self, name: str) -> None:
        del self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(VERBS)

    def __len__(self) -> int:
        return len(VERBS)


def load(name: str) -> Any:
    """The command of one of ``VERBS``, out of its module."""
    attribute = name.replace("-", "_")
    module = import_module(f"fgvr.cli.{attribute}")
    if (group := getattr(module, "app", None)) is not None:
        command: Any = get_group(group)
    else:
        alone = Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
        alone.command(name)(getattr(module, attribute))
        command = get_command(alone)
    command.name = name
    return command
