"""What FiNDR asks, in the wording of its released code (``data/generate_classnames.py``), misspellings included.

1. *Messages.* The released code sends the conversion as several chat messages, the reply to be converted as one of the
   assistant's. Here one message, as its own Gemini path does, with the last sentence at the end.
2. *Line ends.* The expert message ends in a line break and blanks in the released source; here it does not.
"""

from __future__ import annotations

KEYS = ("category_singular", "category_plural", "unit_singular", "unit_plural", "expert_name")
META = """\
You are given a set of images representing a specific object category. Analyze these images and provide information \
about the main object in the images:
1. The category describing these specific objects (sungular and plural forms).
2. The word typically used to describe a unit (or a sub-category) of this category, to distinct such specific similar \
objects (singular and plural forms).
3. The word typically used to describe an recognized expert or professional who studied this category and is able to \
easily distinct its units.

Please provide this information in this specific format as a JSON object with the following fields:
{
    "category_singular": "<category_singular>",
    "category_plural": "<category_plural>",
    "unit_singular": "<unit_singular>",
    "unit_plural": "<unit_plural>",
    "expert_name": "<expert_name>"
}

Do not provide any additional word or information.
"""
BASE = "What is the exact main object in the provided image?"
_EXPERT = "You are a professional {expert_name} and an expert in {category_singular} classification."
_MAIN = "What is the exact {category_singular} {unit_singular} in the provided image?"
_SERVICE = """\
Convert the below text containing suggested {category_singular} {unit_plural} to a Python dictionary object, where a \
key is an index and the value is a suggestion of the specific {category_singular} {unit_singular}. 
Only use the final {category_singular} {unit_singular} prediction(s), do not use any intermediate suggestions.
Remove duplicated suggestions and unsepcific {category_singular} {unit_plural}. Also keep the numbered order of the \
suggestions with 1 as a starting index.
Make sure to only use English letters. Add a space between seprate words if not done in the suggested \
{category_singular} {unit_plural} and capitalize abbreviations and first letters of normal words.

The text:
"""
_ONLY = "\n\nEnsure to output only a Python dictionary object and nothing else."
GENERAL = {
    "category_singular": "object",
    "category_plural": "objects",
    "unit_singular": "type",
    "unit_plural": "types",
    "expert_name": "expert",
}
"""Words for the conversion where the meta question gave none."""


def expert_message(words: dict[str, str]) -> str:
    """The system message of the ``expert`` design."""
    return _EXPERT.format(**words)


def main_prompt(words: dict[str, str]) -> str:
    """The question about each image, of the ``meta`` and ``expert`` designs."""
    return _MAIN.format(**words)


def service_prompt(reply: str, words: dict[str, str]) -> str:
    """Asks to convert ``reply`` (fit to stand in a prompt) to ``{1: name, ...}``."""
    return _SERVICE.format(**words) + reply + _ONLY
