"""What is on the screen can be read on the usual palettes, in every theme."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from urwid import AttrSpec

from chatnet.console.widgets import theme
from chatnet.console.widgets.theme import ASCII, UNICODE, palette, theme_of
from chatnet.core.choices import Theme

Rgb = tuple[int, int, int]


@dataclass(frozen=True)
class Terminal:
    """The sixteen colours of a terminal, its text and its background."""

    name: str
    is_dark: bool
    text: str
    background: str
    colors: tuple[str, ...]


def sixteen(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# From ethanschoonover.com/solarized, the Tango guidelines as GNOME Terminal has them, XTerm-col.ad, and the kernel's
# drivers/tty/vt/vt.c.
SOLARIZED = sixteen(
    "073642 dc322f 859900 b58900 268bd2 d33682 2aa198 eee8d5 002b36 cb4b16 586e75 657b83 839496 6c71c4 93a1a1 fdf6e3"
)
TANGO = sixteen(
    "2e3436 cc0000 4e9a06 c4a000 3465a4 75507b 06989a d3d7cf 555753 ef2929 8ae234 fce94f 729fcf ad7fa8 34e2e2 eeeeec"
)
XTERM = sixteen(
    "000000 cd0000 00cd00 cdcd00 0000ee cd00cd 00cdcd e5e5e5 7f7f7f ff0000 00ff00 ffff00 5c5cff ff00ff 00ffff ffffff"
)
LINUX = sixteen(
    "000000 aa0000 00aa00 aa5500 0000aa aa00aa 00aaaa aaaaaa 555555 ff5555 55ff55 ffff55 5555ff ff55ff 55ffff ffffff"
)
TERMINALS = (
    Terminal("Solarized dark", True, "839496", "002b36", SOLARIZED),
    Terminal("Solarized light", False, "657b83", "fdf6e3", SOLARIZED),
    Terminal("Tango dark", True, "d3d7cf", "2e3436", TANGO),
    Terminal("Tango light", False, "2e3436", "eeeeec", TANGO),
    Terminal("XTerm dark", True, "e5e5e5", "000000", XTERM),
    Terminal("XTerm light", False, "000000", "ffffff", XTERM),
    Terminal("Linux console", True, "aaaaaa", "000000", LINUX),
)
# Ratios of WCAG 2.2: 3 for large text and parts of an interface (1.4.11), 7 for enhanced contrast (1.4.6).  Solarized's
# own text on its own backgrounds has 4.7 and 4.1: no theme in the terminal's colours can promise the 4.5 of 1.4.3.
LEAST = {Theme.DARK: 3.0, Theme.LIGHT: 3.0, Theme.MONO: 3.0, Theme.HIGH_CONTRAST: 7.0}
DECORATION = {"line"}  # says nothing: what it separates stands in rows of its own


def of_hex(text: str) -> Rgb:
    return int(text[:2], 16), int(text[2:4], 16), int(text[4:], 16)


def luminance(color: Rgb) -> float:
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (component / 255 for component in color)
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: Rgb, other: Rgb) -> float:
    """The ratio of WCAG 2.2."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def grounds(entry: theme.Entry, terminal: Terminal, colors: int) -> tuple[list[Rgb], Rgb]:
    """The colours that the text of an entry may have there, and its background."""
    spec = AttrSpec(*(entry[1:3] if colors == 16 else entry[4:6]), colors)
    texts, background = [of_hex(terminal.text)], of_hex(terminal.background)
    if spec.foreground_high:
        texts = [spec.get_rgb_values()[:3]]
    elif spec.foreground_basic:
        numbers = [spec.foreground_number]
        if spec.bold and numbers[0] < 8:
            numbers.append(numbers[0] + 8)  # some terminals show what is bold in the bright colour
        texts = [of_hex(terminal.colors[number]) for number in numbers]
    if spec.background_high:
        background = spec.get_rgb_values()[3:]
    elif spec.background_basic:
        background = of_hex(terminal.colors[spec.background_number])
    return texts, background


def fits(name: Theme, terminal: Terminal) -> bool:
    """Whether the theme is meant for such a terminal."""
    return name in (Theme.HIGH_CONTRAST, Theme.MONO) or (name is Theme.DARK) is terminal.is_dark


CASES = [(name, terminal, colors) for name in Theme for terminal in TERMINALS for colors in (16, 256)]
CASES = [case for case in CASES if fits(case[0], case[1])]


@pytest.mark.parametrize(("name", "terminal", "colors"), CASES, ids=lambda value: getattr(value, "name", str(value)))
def test_all_that_says_something_can_be_read(name: Theme, terminal: Terminal, colors: int) -> None:
    """Fault C8: on Solarized dark, times, paths, absent people and progress were invisible."""
    weak = {}
    for entry in palette(name):
        texts, background = grounds(entry, terminal, colors)
        ratio = min(contrast(text, background) for text in texts)
        if ratio < LEAST[name] and entry[0] not in DECORATION:
            weak[entry[0]] = round(ratio, 2)
    assert weak == {}


@pytest.mark.parametrize(("name", "terminal", "colors"), CASES, ids=lambda value: getattr(value, "name", str(value)))
def test_what_is_selected_stands_out(name: Theme, terminal: Terminal, colors: int) -> None:
    rows = {entry[0]: entry for entry in palette(name)}
    if name is Theme.MONO:  # the terminal's own text and background, exchanged
        assert {rows[look][3] for look in ("selected", "button", "field.here")} == {"standout"}
        return
    _, window = grounds(rows[None], terminal, colors)
    for look in ("selected", "button", "field.here"):
        _, background = grounds(rows[look], terminal, colors)
        assert contrast(background, window) >= 3.0, look


def test_the_ratio_is_that_of_the_guidelines() -> None:
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert contrast(of_hex("767676"), (255, 255, 255)) == pytest.approx(4.54, abs=0.01)
    bright_black = contrast(of_hex(SOLARIZED[8]), of_hex("002b36"))
    assert bright_black == 1.0  # what was there before: the test above sees it


@pytest.mark.parametrize("name", Theme)
def test_no_text_is_bright_black_and_no_background_blinks(name: Theme) -> None:
    for entry in palette(name):
        spec = AttrSpec(entry[1], entry[2], 16)
        assert not (spec.foreground_basic and spec.foreground_number == 8), entry[0]
        assert spec.background_number < 8, entry[0]
        assert not spec.blink, entry[0]
        assert not spec.faint or entry[0] in DECORATION, entry[0]


def test_all_themes_have_all_looks_and_mono_has_no_color() -> None:
    names = [[row[0] for row in palette(name)] for name in Theme]
    assert all(of == names[0] for of in names)
    assert len(set(names[0])) == len(names[0])
    for entry in palette(Theme.MONO):
        assert {part for part in entry[1].split(",")} <= {"default", "bold", "underline", "standout"}
        assert entry[2] == "default"


def test_the_theme_follows_what_is_known() -> None:
    assert theme_of({}) is Theme.DARK
    assert theme_of({"COLORFGBG": "0;15"}) is Theme.LIGHT
    assert theme_of({"COLORFGBG": "15;0"}) is Theme.DARK
    assert theme_of({"COLORFGBG": "0;15", "NO_COLOR": "1"}) is Theme.MONO
    assert theme_of({"NO_COLOR": ""}) is Theme.DARK


def test_ascii_signs_are_ascii_and_as_many() -> None:
    for name in theme.Signs.__dataclass_fields__:
        assert getattr(ASCII, name).isascii(), name
        assert getattr(UNICODE, name)
