"""Both themes can be read: contrast as WCAG 2.2 measures it, and series that colour-blind eyes tell apart."""

import tomllib
from itertools import combinations

import pytest

from observability.settings import ROOT

THEMES = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())["theme"]
TEXT, GRAPHIC = 4.5, 3.0  # WCAG 1.4.3 and 1.4.11, level AA
APART = 15.0  # CIE76; 2.3 is just noticed
# What dichromats see, in linear RGB: Machado, Oliveira and Fernandes (2009), severity 1
SEEN = {
    "everybody": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}

Colour = tuple[float, ...]


def linear(colour: str) -> Colour:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return tuple(part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)


def contrast(one: str, other: str) -> float:
    lights = sorted(
        sum(w * part for w, part in zip((0.2126, 0.7152, 0.0722), linear(c), strict=True)) for c in (one, other)
    )
    return (lights[1] + 0.05) / (lights[0] + 0.05)


def seen(colour: str, eyes: str) -> Colour:
    return tuple(
        min(1.0, max(0.0, sum(m * part for m, part in zip(row, linear(colour), strict=True)))) for row in SEEN[eyes]
    )


def lab(rgb: Colour) -> Colour:
    to_xyz = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
    xyz = [sum(m * part for m, part in zip(row, rgb, strict=True)) for row in to_xyz]
    x, y, z = (
        v ** (1 / 3) if v > 0.008856 else 7.787 * v + 16 / 116
        for v in (part / white for part, white in zip(xyz, (0.9505, 1.0, 1.089), strict=True))
    )
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def apart(one: str, other: str, eyes: str) -> float:
    return sum((a - b) ** 2 for a, b in zip(lab(seen(one, eyes)), lab(seen(other, eyes)), strict=True)) ** 0.5


@pytest.mark.parametrize("name", ["light", "dark"])
def test_text_and_links_can_be_read_on_both_backgrounds(name):
    theme = THEMES[name]
    grounds = (theme["backgroundColor"], theme["secondaryBackgroundColor"])
    low = {
        (ink, ground): round(contrast(theme[ink], ground), 2)
        for ink in ("textColor", "linkColor", "primaryColor")
        for ground in grounds
        if contrast(theme[ink], ground) < TEXT
    }
    assert low == {}


@pytest.mark.parametrize("name", ["light", "dark"])
def test_every_series_stands_out_from_the_background(name):
    theme = THEMES[name]
    ratios = {
        colour: round(contrast(colour, theme["backgroundColor"]), 2) for colour in theme["chartCategoricalColors"]
    }
    assert {colour: ratio for colour, ratio in ratios.items() if ratio < GRAPHIC} == {}


@pytest.mark.parametrize("eyes", sorted(SEEN))
@pytest.mark.parametrize("name", ["light", "dark"])
def test_the_first_four_series_are_told_apart(name, eyes):
    series = THEMES[name]["chartCategoricalColors"][:4]
    near = {pair: round(apart(*pair, eyes), 1) for pair in combinations(series, 2) if apart(*pair, eyes) < APART}
    assert near == {}
