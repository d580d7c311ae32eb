"""Characters with fixed appearances and artists with styles of their own.

All are invented for this project and belong to nobody.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Character:
    """A named character; the values are option names of `vocabulary.py`.

    Attributes:
        weight: Relative frequency; the most popular character is drawn many times as often as the last.
        colour: Colour of the outfit if it comes in several, else "".
        bow: Colour of the bow in the hair, if there is one.
        legwear: Legwear with the usual outfit.
        expression: Usual expression.
        blushes: True if the character usually blushes.
        held: Object that the character usually holds; "" for none.
        setting: Background in front of which the character often appears; "" for none.
    """

    name: str
    copyright: str
    weight: float
    hair: str
    hair_style: str
    eyes: str
    outfit: str
    colour: str = ""
    bangs: str = "swept"
    ahoge: bool = False
    kind: str = "human"
    headwear: str = "none"
    bow: str = ""
    eyewear: str = "none"
    legwear: str = "bare"
    expression: str = "smile"
    blushes: bool = False
    held: str = ""
    setting: str = ""
    is_boy: bool = False


_ACADEMY = "starlit_academy"
_GARDEN = "clockwork_garden"
_FOX = "tale_of_the_amber_fox"

# fmt: off
CHARACTERS = (
    Character(name="tsukimori_anzu", copyright=_ACADEMY, weight=18, hair="blonde", hair_style="twintails",
        eyes="blue", outfit="serafuku", colour="blue", bangs="between_eyes", headwear="hair_bow", bow="red",
        legwear="bare", expression="grin", blushes=True, setting="sky"),
    Character(name="akikaze_(amber_fox)", copyright=_FOX, weight=13, hair="orange", hair_style="long",
        eyes="yellow", outfit="kimono", colour="red", bangs="parted", kind="fox", expression="smile",
        setting="autumn"),
    Character(name="ottilie_von_rad", copyright=_GARDEN, weight=11, hair="white", hair_style="very_long",
        eyes="red", outfit="armor", colour="blue", bangs="between_eyes", ahoge=True,
        legwear="black_thighhighs", expression="calm", held="sword", setting="night"),
    Character(name="kurohane_shizu", copyright=_ACADEMY, weight=9, hair="black", hair_style="hime_cut",
        eyes="purple", outfit="serafuku", colour="black", bangs="blunt", legwear="black_pantyhose",
        expression="calm", held="book", setting="classroom"),
    Character(name="pim_(clockwork_garden)", copyright=_GARDEN, weight=8, hair="brown",
        hair_style="twin_braids", eyes="green", outfit="maid", bangs="blunt", headwear="maid_headdress",
        eyewear="glasses", legwear="white_thighhighs", expression="grin", blushes=True, held="cup",
        setting="room"),
    Character(name="suzu_no_nekomata", copyright=_FOX, weight=7, hair="grey", hair_style="short",
        eyes="green", outfit="hoodie", colour="black", bangs="between_eyes", kind="cat",
        legwear="black_thighhighs", expression="fang", setting="white"),
    Character(name="momosato_rin", copyright=_ACADEMY, weight=6, hair="pink", hair_style="bob", eyes="pink",
        outfit="blazer", colour="red", bangs="blunt", headwear="hairband", legwear="kneehighs",
        expression="smile", blushes=True, setting="cherry"),
    Character(name="belladonna_(clockwork_garden)", copyright=_GARDEN, weight=5, hair="purple",
        hair_style="twin_drills", eyes="red", outfit="dress", colour="black", kind="demon",
        legwear="black_thighhighs", expression="smile", setting="night"),
    Character(name="hagane_(amber_fox)", copyright=_FOX, weight=5, hair="red", hair_style="spiked",
        eyes="yellow", outfit="armor", bangs="between_eyes", is_boy=True, expression="angry", held="sword",
        setting="sunset"),
    Character(name="minase_(starlit_academy)", copyright=_ACADEMY, weight=4, hair="blue",
        hair_style="ponytail", eyes="yellow", outfit="hoodie", colour="white", headwear="headphones",
        legwear="socks", expression="grin", held="microphone", setting="city"),
    Character(name="sylphine", copyright=_GARDEN, weight=3.5, hair="green", hair_style="wavy", eyes="purple",
        outfit="dress", colour="white", bangs="parted", kind="elf", headwear="hair_flower",
        expression="closed_eyes", held="flower", setting="forest"),
    Character(name="yukimi_usagi", copyright=_FOX, weight=3, hair="aqua", hair_style="double_bun", eyes="red",
        outfit="kimono", colour="purple", bangs="blunt", kind="rabbit", expression="smile", blushes=True,
        held="umbrella", setting="snow"),
)
# fmt: on
COPYRIGHTS = (_ACADEMY, _GARDEN, _FOX, "original")


@dataclass(frozen=True, slots=True, kw_only=True)
class Artist:
    """Style of one artist.

    Attributes:
        weight: Relative frequency.
        line: Width of the outlines, in hundredths of a head's half-width.
        ink: Colour of the outlines: "black", "brown", "tinted" (a dark tone of the enclosed colour), "soft" (a
            mid tone), "white".
        saturation: Factor for the saturation of all colours.
        warmth: Shift of all colours to orange (> 0) or blue (< 0), in [-1, 1].
        lightness: Term added to the lightness of all colours, in [-0.2, 0.2].
        shade: Depth of the shadow tone, in [0, 1].
        eye_scale: Size of the eyes; 1 is normal.
        eye_slant: Rise of the outer corners of the eyes, in head units.
        gloss: Strength of the highlights on hair and eyes, in [0, 1].
        cheeks: Roundness of the face, in [0, 1].
        favourite: Background that this artist uses more often than others do.
    """

    name: str
    weight: float
    line: float
    ink: str
    saturation: float = 1.0
    warmth: float = 0.0
    lightness: float = 0.0
    shade: float = 0.5
    eye_scale: float = 1.0
    eye_slant: float = 0.0
    gloss: float = 0.6
    cheeks: float = 0.5
    favourite: str = "white"


# fmt: off
ARTISTS = (
    Artist(name="inkwell_rabbit", weight=22, line=4.2, ink="black", favourite="white"),
    Artist(name="peach_parfait", weight=16, line=3.2, ink="brown", warmth=0.25, lightness=0.05, shade=0.35,
        eye_scale=1.08, cheeks=0.9, favourite="pink"),
    Artist(name="midnight_tram", weight=13, line=3.4, ink="tinted", saturation=0.85, warmth=-0.3,
        lightness=-0.04, shade=0.75, eye_slant=0.05, gloss=0.8, cheeks=0.2, favourite="night"),
    Artist(name="soda_float", weight=11, line=2.6, ink="tinted", saturation=1.25, lightness=0.04, gloss=1.0,
        eye_scale=1.12, favourite="sky"),
    Artist(name="old_lantern", weight=9, line=5.4, ink="brown", saturation=0.7, warmth=0.45, shade=0.6,
        gloss=0.3, favourite="sunset"),
    Artist(name="pastel_orbit", weight=8, line=2.8, ink="soft", saturation=0.72, lightness=0.1, shade=0.3,
        eye_scale=1.1, cheeks=0.8, favourite="gradient"),
    Artist(name="kettle_crow", weight=6, line=6.2, ink="black", saturation=1.15, shade=0.9, eye_scale=0.92,
        eye_slant=0.09, gloss=0.4, cheeks=0.0, favourite="grey"),
    Artist(name="mossy_path", weight=5, line=3.6, ink="tinted", saturation=0.82, warmth=0.12, shade=0.5,
        favourite="forest"),
    Artist(name="neon_koi", weight=4, line=3.0, ink="tinted", saturation=1.45, warmth=-0.15, shade=0.7,
        gloss=1.0, eye_slant=0.07, favourite="night_city"),
    Artist(name="paper_crane_07", weight=3, line=3.8, ink="white", saturation=0.9, lightness=0.05, shade=0.45,
        gloss=0.5, cheeks=0.6, favourite="dots"),
)
# fmt: on
