"""FGVC-Aircraft: its list of variants, and names with their maker."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from fgvr.data.benchmarks import aircraft
from fgvr.errors import ManifestError
from tests.data.benchmarks.miniature import small
from tests.data.benchmarks.writing import kinds, text

VARIANTS = """
    707-320 727-200 737-200 737-300 737-400 737-500 737-600 737-700 737-800 737-900 747-100 747-200 747-300 747-400
    757-200 757-300 767-200 767-300 767-400 777-200 777-300 A300B4 A310 A318 A319 A320 A321 A330-200 A330-300
    A340-200 A340-300 A340-500 A340-600 A380 ATR-42 ATR-72 An-12 BAE_146-200 BAE_146-300 BAE-125 Beechcraft_1900
    Boeing_717 C-130 C-47 CRJ-200 CRJ-700 CRJ-900 Cessna_172 Cessna_208 Cessna_525 Cessna_560 Challenger_600 DC-10
    DC-3 DC-6 DC-8 DC-9-30 DH-82 DHC-1 DHC-6 DHC-8-100 DHC-8-300 DR-400 Dornier_328 E-170 E-190 E-195 EMB-120
    ERJ_135 ERJ_145 Embraer_Legacy_600 Eurofighter_Typhoon F-16A/B F/A-18 Falcon_2000 Falcon_900 Fokker_100
    Fokker_50 Fokker_70 Global_Express Gulfstream_IV Gulfstream_V Hawk_T1 Il-76 L-1011 MD-11 MD-80 MD-87 MD-90
    Metroliner Model_B200 PA-28 SR-20 Saab_2000 Saab_340 Spitfire Tornado Tu-134 Tu-154 Yak-42
"""
"""FGVC-Aircraft's classes, underscores for blanks."""


def test_aircraft_names_with_their_maker_count_as_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    accepted = {item.label: item.accepted for item in small("aircraft100", tmp_path, monkeypatch).read(tmp_path).items}
    assert accepted == {
        "707-320": ("Boeing 707-320",),
        "DC-10": ("McDonnell Douglas DC-10",),
        "F-16A/B": ("Lockheed Martin F-16A/B",),
        "Boeing 717": (),
    }


def test_aircraft_digest_is_that_of_the_hundred_variants():
    variants = [name.replace("_", " ") for name in VARIANTS.split()]
    assert len(set(variants)) == aircraft.CLASSES
    assert hashlib.sha256("\n".join(variants).encode()).hexdigest() == aircraft.CLASSES_SHA256


def test_aircraft_of_another_list_of_variants_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    module = small("aircraft100", tmp_path, monkeypatch)
    text(tmp_path, "variants.txt", "DC-10", "707-320", "F-16A/B", "Boeing 717")
    assert kinds(module.read(tmp_path)) == ["wrong checksum"]


def test_aircraft_of_a_variant_that_is_not_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    module = small("aircraft100", tmp_path, monkeypatch)
    text(tmp_path, "images_variant_test.txt", "0698580 DC-11")
    with pytest.raises(ManifestError, match="DC-11"):
        module.read(tmp_path)
