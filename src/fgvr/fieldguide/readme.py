"""What ``fgvr fieldguide make`` says about its files, beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

_FIELDS = (
    ("image", "path of the picture, relative to this folder"),
    ("split", "`support`, `train` or `test`; no picture is in two of them"),
    ("label", "the species' common name"),
    ("accepted", "every name that counts as this species: common name, synonyms, scientific name"),
    ("key", "stable identifier of the species"),
    ("scientific", "invented binomial"),
    ("genus", "common name of the group; siblings of a genus differ in one or two attributes"),
    ("super_category", "`bird`, `butterfly`, `flower`, `fish` or `beetle`"),
    ("attributes", "what makes the species, as (attribute, value)"),
    ("seen", "whether the field guide's own encoder was trained on this species"),
    ("box", "[x0, y0, x1, y1] in pixels: what is visible of the organism; x1 and y1 are one past the last pixel"),
    ("width, height", "of the picture in pixels"),
    ("sex", "`male`, `female` (duller) or `juvenile`"),
    ("background", "kind of background; `plate` is a plain page"),
    ("difficulty", "`poor` when strongly blurred, taken at dusk or heavily hidden, else `clear`"),
    ("view_seed", "with the key, draws this picture again"),
)


def readme(settings: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], scenes: Sequence[Mapping[str, Any]]) -> str:
    """Markdown for a folder with these settings, manifest rows and scenes."""
    splits = Counter(str(row["split"]) for row in rows)
    options = [f"--{name.replace('_', '-')} {settings[name]}" for name in settings if name != "species"]
    organisms = sum(len(scene["objects"]) for scene in scenes)
    lines = [
        "# A drawn field guide",
        "",
        f"{len(rows)} pictures of {len(settings['species'])} invented species, drawn by `fgvr fieldguide make` with",
        f"`{' '.join(options)}`. No photograph is in it and no such species lives.",
        "",
        "| split | pictures |",
        "|---|---|",
        *(f"| {split} | {count} |" for split, count in splits.items()),
        "",
        "- `images/<split>/<common name>/`: the pictures, JPEG.",
        "- `manifest.jsonl`: one row a picture; written last, so a folder without it is incomplete. Running the same",
        "  command again completes it.",
        "- `species.json`: the species, with names, attributes and whether the field guide's encoder was taught them.",
        f"- `scenes/` and `scenes.jsonl`: {len(scenes)} pictures of several organisms ({organisms} in all), one row a",
        "  scene: `image`, `width`, `height`, `background`, `objects` (`label`, `key`, `box`).",
        "- `field_guide.json`: the settings.",
        "",
        "## Columns of manifest.jsonl",
        "",
        "| column | meaning |",
        "|---|---|",
        *(f"| `{name}` | {meaning} |" for name, meaning in _FIELDS),
        "",
        "None of these pictures was used to train the field guide's models.",
        "",
    ]
    return "\n".join(lines)
