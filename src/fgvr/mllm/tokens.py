"""How many tokens a request is likely to be, and how many it can be at most.

Rules of thumb for one picture, by family, as the vendors document them (w, h in pixels as sent):

==================================  =======================================================================
gpt-4o, gpt-4.1, gpt-4.5            85 + 170 per 512-pixel tile after fitting the short side to 768
gpt-5                               70 + 140 per such tile
o1, o3                              75 + 150 per such tile
gpt-4o-mini                         2,833 + 5,667 per such tile
gpt-4.1-mini / -nano, gpt-5-mini /  min(1,536, patches of 32 x 32) times 1.62 / 2.46, 1.62 / 2.46, 1.72
-nano, o4-mini
gemini                              258 per 768-pixel tile
claude                              w h / 750, at most 1,600
qwen-vl                             w h / 28^2 (32^2 for qwen3)
anything else                       w h / 600
==================================  =======================================================================

Text: about four characters a token; never more tokens than UTF-8 bytes, which is what the spending cap reserves. Where
several samples are asked for, the cap also reserves a second, greedy call: a service that ignores the wish and answers
once is asked once more (see ``openai_http``).
"""

from __future__ import annotations

import math

from fgvr.mllm.base import Request

_TEXT_OVERHEAD = 16
"""Tokens a chat template adds around the messages (a generous figure)."""

# (prefix of the bare model name, base, per tile) -- longest prefix first
_TILED = (
    ("gpt-4o-mini", 2833, 5667),
    ("gpt-4o", 85, 170),
    ("gpt-4.1", 85, 170),
    ("gpt-4.5", 85, 170),
    ("gpt-5", 70, 140),
    ("o1", 75, 150),
    ("o3", 75, 150),
)
_PATCHED = (
    ("gpt-4.1-mini", 1.62),
    ("gpt-4.1-nano", 2.46),
    ("gpt-5-mini", 1.62),
    ("gpt-5-nano", 2.46),
    ("o4-mini", 1.72),
)


def image_tokens(model: str, width: int, height: int) -> int:
    """Tokens one picture of ``width`` x ``height`` pixels costs, by the rules of thumb above."""
    name = model.rsplit("/", 1)[-1].lower()
    for prefix, factor in _PATCHED:
        if name.startswith(prefix):
            return math.ceil(min(1536, math.ceil(width / 32) * math.ceil(height / 32)) * factor)
    for prefix, base, per_tile in _TILED:
        if name.startswith(prefix):
            return base + per_tile * _openai_tiles(width, height)
    if name.startswith("gemini"):
        return 258 * math.ceil(width / 768) * math.ceil(height / 768)
    if name.startswith("claude"):
        return min(1600, math.ceil(width * height / 750))
    if name.startswith("qwen"):
        side = 32 if name.startswith("qwen3") else 28
        return math.ceil(width / side) * math.ceil(height / side)
    return math.ceil(width * height / 600)


def _openai_tiles(width: int, height: int) -> int:
    shrink = min(1.0, 2048 / max(width, height))
    shrink = min(shrink, 768 / min(width, height))
    # The tiny amount guards against 768.0000001 / 512 becoming a tile more.
    return math.ceil(width * shrink / 512 - 1e-9) * math.ceil(height * shrink / 512 - 1e-9)


def text_tokens(text: str) -> int:
    """A likely token count of ``text``: four characters a token."""
    return math.ceil(len(text) / 4)


def likely_input_tokens(request: Request, model: str, *, side: tuple[int, int] = (1024, 768)) -> int:
    """Input tokens of ``request`` if its pictures are ``side`` (width, height) large when sent."""
    text = sum(text_tokens(part) for part in _texts(request))
    return text + _TEXT_OVERHEAD + len(request.images) * image_tokens(model, *side)


def most_input_tokens(request: Request, model: str, *, max_side: int = 1024) -> int:
    """Input tokens that ``request`` cannot pass: one per UTF-8 byte, square pictures of ``max_side`` pixels."""
    text = sum(len(part.encode("utf-8", "surrogatepass")) for part in _texts(request))
    # Letters, brackets and line breaks around each option, and twice the usual frame around the messages.
    frame = 2 * _TEXT_OVERHEAD + 8 * len(request.options) + (128 if request.options else 0)
    return text + frame + len(request.images) * image_tokens(model, max_side, max_side)


def most_tokens(request: Request, model: str, *, max_side: int = 1024) -> tuple[int, int]:
    """(input, output) tokens that asking ``request`` once cannot pass, a second call for want of samples included."""
    tokens_in, replies = most_input_tokens(request, model, max_side=max_side), replies_of(request)
    calls, written = (1, 1) if replies == 1 else (2, replies + 1)
    return calls * tokens_in, written * request.parameters.max_tokens


def replies_of(request: Request) -> int:
    """Replies that are written: options are scored once, whatever number of samples is asked for."""
    return 1 if request.options else request.parameters.samples


def _texts(request: Request) -> tuple[str, ...]:
    return (request.system or "", request.prompt, *request.options)
