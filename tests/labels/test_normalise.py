from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fgvr.labels import display_name, normalise


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("The Black-footed_Albatross ", "black footed albatross"),
        ("Forster’s Tern", "forsters tern"),
        ("Forster's Tern", "forsters tern"),
        ("Rosa  ×  alba", "rosa alba"),
        ("ＡＢＣ", "abc"),
        ("Straße", "strasse"),
        ("Brabançon", "brabançon"),
        ("Bra\u0062anc\u0327on", "brabançon"),
        ("Li\u0000n\u202enet", "linnet"),
        ("Audi A4/S4, 2012", "audi a4 s4 2012"),
        ("An apple", "apple"),
        ("a", "a"),
        ("Anhinga", "anhinga"),
        ("???", ""),
    ],
)
def test_normalise(raw: str, expected: str) -> None:
    assert normalise(raw) == expected


@given(st.text())
@example("a a")
@example("the The a x")
@example("ͅ ΐ")
@example("İ ǰ ŉ")
def test_normalise_is_idempotent(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@given(st.text(max_size=60))
def test_normalise_ignores_case_of_ascii_and_outer_blanks(text: str) -> None:
    upper = "".join(char.upper() if char.isascii() else char for char in text)
    assert normalise(f"  {upper} ") == normalise(text)


def test_normalise_bounds_length() -> None:
    assert len(normalise("x" * 10_000)) == 200


@given(st.text())
def test_display_name_is_one_clean_bounded_line(text: str) -> None:
    shown = display_name(text)
    assert len(shown) <= 120
    assert not any(unicodedata.category(char) in ("Cc", "Cf", "Cs") for char in shown)
    assert display_name(shown) == shown


def test_display_name_keeps_case_and_signs() -> None:
    assert display_name(" Black-footed\n  Albatross ") == "Black-footed Albatross"
    assert display_name("x" * 500).endswith("…")
