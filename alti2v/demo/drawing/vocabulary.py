"""Vocabulary of the pictures: the options of each choice, their weights and their tags.

Pure tables. Weights are relative within a table and fall off like the tags of a board: a few common options and
a long tail of rare ones. Each option lists all of its tags, implied ones included; `IMPLICATIONS` lists the
implications, which a test checks on every picture.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from random import Random


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a choice.

    Attributes:
        name: Name of the option, which the drawing functions use.
        weight: Relative frequency, > 0.
        tags: Tags in every framing.
        torso: Further tags if at least the upper body is in the frame.
        lower: Further tags if at least the thighs are in the frame.
    """

    name: str
    weight: float
    tags: tuple[str, ...] = ()
    torso: tuple[str, ...] = ()
    lower: tuple[str, ...] = ()


class WeightedOptions:
    """Options with weights to pick from."""

    def __init__(self, *options: Option) -> None:
        self.options = options
        self._named = {option.name: option for option in options}
        self._names = tuple(self._named)
        self._cumulative = tuple(accumulate(option.weight for option in options))

    def pick(self, rng: Random) -> str:
        """Pick the name of one option at random."""
        return self._names[bisect(self._cumulative, rng.random() * self._cumulative[-1])]

    def __getitem__(self, name: str) -> Option:
        return self._named[name]

    def tags(self) -> set[str]:
        """All tags of the options of this table."""
        return {tag for o in self.options for tag in (*o.tags, *o.torso, *o.lower)}


def _colours(suffix: str, *more: str, **weights: float) -> WeightedOptions:
    return WeightedOptions(
        *(Option(name, weight, (f"{name}_{suffix}", *more)) for name, weight in weights.items())
    )


HAIR_COLOURS = _colours(
    "hair",
    blonde=20,
    brown=17,
    black=14,
    blue=10,
    pink=9,
    purple=7,
    white=7,
    red=5,
    green=4,
    grey=3,
    aqua=2.5,
    orange=2,
)
EYE_COLOURS = _colours(
    "eyes", blue=26, red=17, brown=14, green=13, purple=12, yellow=8, pink=5, aqua=3, orange=1.5
)

GIRL_HAIR = WeightedOptions(
    Option("long", 20, ("long_hair",)),
    Option("short", 15, ("short_hair",)),
    Option("twintails", 12, ("long_hair", "twintails")),
    Option("very_long", 10, ("long_hair",), ("very_long_hair",)),
    Option("ponytail", 9, ("long_hair", "ponytail")),
    Option("medium", 8, ("medium_hair",)),
    Option("bob", 8, ("bob_cut", "short_hair")),
    Option("twin_braids", 4.5, ("braid", "long_hair", "twin_braids")),
    Option("wavy", 3.5, ("long_hair", "wavy_hair")),
    Option("side_ponytail", 3.5, ("long_hair", "side_ponytail")),
    Option("hime_cut", 3, ("blunt_bangs", "hime_cut", "long_hair")),
    Option("double_bun", 3, ("double_bun", "hair_bun", "short_hair")),
    Option("single_braid", 2.5, ("braid", "long_hair", "single_braid")),
    Option("twin_drills", 2.5, ("drill_hair", "long_hair", "twin_drills")),
    Option("single_bun", 1.5, ("hair_bun", "short_hair", "single_hair_bun")),
)
BOY_HAIR = WeightedOptions(
    Option("boy_short", 5, ("short_hair",)),
    Option("spiked", 4, ("short_hair", "spiked_hair")),
    Option("low_ponytail", 1, ("long_hair", "ponytail")),
)
BANGS = WeightedOptions(
    Option("between_eyes", 30, ("hair_between_eyes",)),
    Option("swept", 30, ("swept_bangs",)),
    Option("blunt", 20, ("blunt_bangs",)),
    Option("parted", 14, ("parted_bangs",)),
    Option("over_one_eye", 6, ("hair_over_one_eye",)),
)
KINDS = WeightedOptions(
    Option("human", 76),
    Option("cat", 9, ("animal_ears", "cat_ears"), ("cat_tail", "tail")),
    Option("fox", 4, ("animal_ears", "fox_ears"), ("fox_tail", "tail")),
    Option("rabbit", 3, ("animal_ears", "rabbit_ears")),
    Option("angel", 2.5, ("halo",), ("feathered_wings", "white_wings", "wings")),
    Option("demon", 2.5, ("horns",), ("demon_tail", "demon_wings", "tail", "wings")),
    Option("elf", 1.5, ("pointy_ears",)),
    Option("dog", 1.2, ("animal_ears", "dog_ears"), ("dog_tail", "tail")),
)
HEADWEAR = WeightedOptions(
    Option("none", 62),
    Option("hair_bow", 11, ("bow", "hair_bow")),
    Option("hair_ribbon", 6, ("hair_ribbon", "ribbon")),
    Option("hair_flower", 5, ("flower", "hair_flower", "hair_ornament")),
    Option("hairband", 5, ("hairband",)),
    Option("beret", 2.5, ("beret", "hat")),
    Option("witch_hat", 2.5, ("hat", "witch_hat")),
    Option("headphones", 2, ("headphones",)),
    Option("straw_hat", 1.5, ("hat", "straw_hat")),
    Option("baseball_cap", 1.3, ("baseball_cap", "hat")),
    Option("crown", 1.2, ("crown",)),
    Option("santa_hat", 0.8, ("hat", "santa_hat")),
    Option("maid_headdress", 0.7, ("maid_headdress",)),
)
BOY_HEADWEAR = WeightedOptions(
    Option("none", 88),
    Option("headphones", 4, ("headphones",)),
    Option("baseball_cap", 5, ("baseball_cap", "hat")),
    Option("crown", 2, ("crown",)),
)
BOW_COLOURS = _colours("bow", red=10, black=5, blue=4, pink=4, white=3)
EYEWEAR = WeightedOptions(
    Option("none", 87),
    Option("glasses", 9, ("glasses",)),
    Option("eyepatch", 1.5, ("eyepatch",)),
    Option("sunglasses", 1, ("sunglasses",)),
)
GIRL_OUTFITS = WeightedOptions(
    Option("dress", 20, ("dress",)),
    Option(
        "serafuku",
        16,
        ("sailor_collar", "school_uniform", "serafuku"),
        ("neckerchief",),
        ("pleated_skirt", "skirt"),
    ),
    Option("blazer", 11, ("blazer", "jacket", "school_uniform"), ("necktie",), ("pleated_skirt", "skirt")),
    Option("shirt", 9, ("collared_shirt", "shirt", "white_shirt"), ("bowtie",), ("skirt",)),
    Option("kimono", 9, ("japanese_clothes", "kimono"), ("obi", "sash", "wide_sleeves")),
    Option("hoodie", 9, ("hoodie",), (), ("shorts",)),
    Option("maid", 7, ("frills", "maid"), ("apron", "dress", "maid_apron")),
    Option("sweater", 6, ("sweater", "turtleneck"), (), ("skirt",)),
    Option("armor", 5, ("armor", "shoulder_armor"), ("breastplate",), ("skirt",)),
    Option("overalls", 2, ("shirt", "striped_clothes", "striped_shirt"), ("overalls",)),
    Option("cape", 4, ("cape",), ("dress",)),
)
BOY_OUTFITS = WeightedOptions(
    Option("gakuran", 5, ("black_jacket", "gakuran", "jacket", "school_uniform"), (), ("pants",)),
    Option("hoodie", 5, ("hoodie",), (), ("pants",)),
    Option("suit", 3, ("collared_shirt", "jacket", "shirt", "suit"), ("necktie",), ("pants",)),
    Option("armor", 2, ("armor", "shoulder_armor"), ("breastplate",), ("pants",)),
    Option("shirt", 2, ("collared_shirt", "shirt", "white_shirt"), ("necktie",), ("pants",)),
    Option("kimono", 1.5, ("japanese_clothes", "kimono"), ("obi", "sash", "wide_sleeves")),
)
DRESS_COLOURS = _colours("dress", white=10, black=7, blue=6, red=5, pink=4, green=2, yellow=1.5, purple=1.5)
SKIRT_COLOURS = _colours("skirt", blue=10, black=8, red=5, grey=2, brown=2, green=1.5)
KIMONO_COLOURS = _colours("kimono", red=6, blue=5, pink=4, purple=3, white=2, black=1.5)
HOODIE_COLOURS = _colours("hoodie", black=6, grey=4, white=3, pink=3, blue=3, yellow=1.5)
SWEATER_COLOURS = _colours("sweater", white=4, brown=3, red=2.5, blue=2, green=1.5)
CAPE_COLOURS = _colours("cape", black=4, red=4, blue=2)
COLOURED_OUTFITS: Mapping[str, WeightedOptions] = {
    "dress": DRESS_COLOURS,
    "kimono": KIMONO_COLOURS,
    "hoodie": HOODIE_COLOURS,
    "sweater": SWEATER_COLOURS,
    "cape": CAPE_COLOURS,
}
SKIRTED_OUTFITS = frozenset({"serafuku", "blazer", "shirt", "armor"})  # the colour is the skirt's
LEGWEAR = WeightedOptions(
    Option("bare", 38),
    Option("black_thighhighs", 17, (), (), ("black_thighhighs", "thighhighs")),
    Option("white_thighhighs", 12, (), (), ("thighhighs", "white_thighhighs")),
    Option("black_pantyhose", 10, (), (), ("black_pantyhose", "pantyhose")),
    Option("kneehighs", 9, (), (), ("kneehighs",)),
    Option("socks", 8, (), (), ("socks",)),
)
FOOTWEAR = WeightedOptions(
    Option("shoes", 5),
    Option("boots", 3.5, ("boots",)),
    Option("barefoot", 0.7, ("barefoot",)),
)
SCARF_COLOURS = _colours("scarf", "scarf", red=5, blue=2, white=1.5, green=1)

EXPRESSIONS = WeightedOptions(
    Option("smile", 32, ("closed_mouth", "smile")),
    Option("grin", 21, (":d", "open_mouth", "smile")),
    Option("calm", 15, ("closed_mouth",)),
    Option("gasp", 7, ("open_mouth", "surprised")),
    Option("closed_eyes", 5, ("closed_eyes", "smile")),
    Option("wink", 5, ("one_eye_closed", "open_mouth", "smile")),
    Option("angry", 4, ("angry", "frown")),
    Option("fang", 3, ("fang", "open_mouth", "smile")),
    Option("crying", 3, ("crying", "frown", "tears")),
    Option("squeezed", 2.2, (">_<", "closed_eyes", "open_mouth")),
    Option("cat_mouth", 2, (":3", "closed_mouth", "smile")),
    Option("tongue", 1.5, ("tongue", "tongue_out")),
)
POSES = WeightedOptions(
    Option("down", 50),
    Option("holding", 20),
    Option("behind", 7, (), ("arms_behind_back",)),
    Option("wave", 6, (), ("hand_up", "waving")),
    Option("arms_up", 6, (), ("arms_up",)),
    Option("clasped", 5, (), ("own_hands_together",)),
    Option("hip", 5, (), ("hand_on_own_hip",)),
    Option("outstretched", 4, (), ("outstretched_arms",)),
)
HELD = WeightedOptions(
    Option("book", 9, (), ("book", "holding", "holding_book")),
    Option("umbrella", 8, (), ("holding", "holding_umbrella", "umbrella")),
    Option("sword", 8, (), ("holding", "holding_sword", "holding_weapon", "sword", "weapon")),
    Option("flower", 6, (), ("bouquet", "flower", "holding", "holding_bouquet")),
    Option("staff", 6, (), ("holding", "holding_staff", "staff")),
    Option("plush", 5, (), ("holding", "stuffed_animal", "stuffed_toy", "teddy_bear")),
    Option("ice_cream", 5, (), ("food", "holding", "holding_food", "ice_cream")),
    Option("cup", 4, (), ("cup", "holding", "holding_cup")),
    Option("microphone", 4, (), ("holding", "holding_microphone", "microphone")),
    Option("balloon", 3, (), ("balloon", "holding", "holding_balloon")),
    Option("lollipop", 1.5, (), ("candy", "food", "holding", "holding_food", "lollipop")),
)

_SKY = ("day", "outdoors", "sky")
_NIGHT = ("night", "night_sky", "outdoors", "sky")
BACKGROUNDS = WeightedOptions(
    Option("white", 20, ("simple_background", "white_background")),
    Option("sky", 9, (*_SKY, "blue_sky", "cloud")),
    Option("night", 6, (*_NIGHT, "full_moon", "moon", "star_(sky)", "starry_sky")),
    Option("gradient", 5.5, ("gradient_background",)),
    Option("cherry", 5, (*_SKY, "cherry_blossoms", "petals", "spring_(season)", "tree")),
    Option("classroom", 4.5, ("chalkboard", "classroom", "indoors")),
    Option("beach", 4, (*_SKY, "beach", "blue_sky", "cloud", "ocean", "summer", "water")),
    Option("grey", 3.5, ("grey_background", "simple_background")),
    Option("sunset", 3.5, ("cloud", "orange_sky", "outdoors", "sky", "sunset")),
    Option("forest", 3.5, ("day", "forest", "nature", "outdoors", "tree")),
    Option("snow", 3.5, ("outdoors", "snow", "snowing", "tree", "winter")),
    Option("city", 3.2, (*_SKY, "blue_sky", "building", "city")),
    Option("blue", 3, ("blue_background", "simple_background")),
    Option("pink", 3, ("pink_background", "simple_background")),
    Option("room", 3, ("curtains", "indoors", "window")),
    Option("flower_field", 2.6, (*_SKY, "blue_sky", "field", "flower", "flower_field")),
    Option("hearts", 2.4, ("heart", "heart_background")),
    Option("dots", 2.2, ("polka_dot", "polka_dot_background")),
    Option("yellow", 2, ("simple_background", "yellow_background")),
    Option("stripes", 2, ("striped_background",)),
    Option("rain", 2, ("cloudy_sky", "outdoors", "rain", "sky")),
    Option("night_city", 2, (*_NIGHT, "building", "city", "city_lights")),
    Option("transparent", 2, ("simple_background",)),
    Option("library", 1.8, ("book", "bookshelf", "indoors", "library")),
    Option("autumn", 1.8, ("autumn", "autumn_leaves", "leaf", "outdoors", "tree")),
    Option("halloween", 1.6, (*_NIGHT, "full_moon", "halloween", "jack-o'-lantern", "moon", "pumpkin")),
    Option("black", 1.3, ("black_background", "simple_background")),
    Option("fireworks", 1.2, (*_NIGHT, "fireworks", "summer")),
    Option("underwater", 1.1, ("bubble", "fish", "underwater", "water")),
)

CASTS = WeightedOptions(
    Option("girl", 76, ("1girl", "solo")),
    Option("boy", 9, ("1boy", "male_focus", "solo")),
    Option("girls", 8.5, ("2girls", "multiple_girls")),
    Option("couple", 4, ("1boy", "1girl")),
    Option("nobody", 2.5, ("no_humans", "scenery")),
)
FRAMINGS = WeightedOptions(
    Option("upper_body", 40, ("upper_body",)),
    Option("portrait", 20, ("portrait",)),
    Option("cowboy_shot", 14, ("cowboy_shot",)),
    Option("full_body", 13, ("full_body", "standing")),
    Option("chibi", 13, ("chibi", "full_body", "standing")),
)
# Visible part of the body in each framing: 0 head and shoulders, 1 to the waist, 2 to the thighs, 3 all of it.
REACH: Mapping[str, int] = {"portrait": 0, "upper_body": 1, "cowboy_shot": 2, "full_body": 3, "chibi": 3}

VIEWS = WeightedOptions(
    Option("front", 93),
    Option("side", 4, ("from_side", "profile")),
    Option("behind", 3, ("from_behind",)),
)
PALETTES = WeightedOptions(
    Option("colour", 95),
    Option("greyscale", 3, ("greyscale", "monochrome")),
    Option("sepia", 0.8, ("monochrome", "sepia")),
    Option("blueprint", 0.6, ("blue_theme", "monochrome")),
)
EFFECTS = WeightedOptions(
    Option("none", 84),
    Option("sparkle", 4, ("sparkle",)),
    Option("petals", 3, ("petals",)),
    Option("floating_hearts", 2.5, ("heart",)),
    Option("speech_bubble", 2.5, ("speech_bubble",)),
    Option("musical_notes", 1.5, ("musical_note",)),
)
FRAMES = WeightedOptions(
    Option("none", 94),
    Option("border", 3.5, ("border", "white_border")),
    Option("letterbox", 1.5, ("letterboxed",)),
)

# Options that a setting makes likely: half of its pictures use them instead of the usual ones.
# fmt: off
SETTING_OUTFITS: Mapping[str, tuple[str, ...]] = {
    "classroom": ("serafuku", "blazer"), "library": ("blazer", "sweater", "shirt"),
    "cherry": ("serafuku", "kimono"), "beach": ("dress",), "flower_field": ("dress",),
    "snow": ("sweater", "hoodie"), "autumn": ("sweater", "blazer"), "fireworks": ("kimono",),
    "halloween": ("cape", "dress"), "room": ("maid", "sweater", "hoodie"), "night_city": ("hoodie",),
}
SETTING_HEADWEAR: Mapping[str, str] = {
    "beach": "straw_hat", "flower_field": "straw_hat", "halloween": "witch_hat", "snow": "santa_hat",
    "fireworks": "hair_flower",
}
SETTING_HELD: Mapping[str, str] = {
    "rain": "umbrella", "library": "book", "beach": "ice_cream", "flower_field": "flower",
    "halloween": "lollipop",
}
# fmt: on
OUTFIT_HELD: Mapping[str, str] = {"armor": "sword", "cape": "staff", "maid": "cup"}

# Tags of details that are not options; `scene.py` decides which pictures have them.
# fmt: off
DETAIL_TAGS = (
    "ahoge", "alternate_costume", "bare_shoulders", "blush", "dutch_angle", "gloves", "long_sleeves",
    "looking_at_viewer", "looking_to_the_side", "signature", "sleeveless", "smile",
)

META_TAGS = (
    "absurdres", "bad_id", "commentary", "commentary_request", "highres", "jpeg_artifacts", "resized",
    "tagme", "third-party_edit", "translated", "transparent_background",
)

IMPLICATIONS: Mapping[str, tuple[str, ...]] = {
    "2girls": ("multiple_girls",), ":d": ("open_mouth", "smile"), ">_<": ("closed_eyes",),
    "absurdres": ("highres",), "autumn_leaves": ("autumn",), "bob_cut": ("short_hair",),
    "bouquet": ("flower",), "cat_ears": ("animal_ears",), "cat_tail": ("tail",), "crying": ("tears",),
    "demon_wings": ("wings",), "dog_ears": ("animal_ears",), "double_bun": ("hair_bun",),
    "flower_field": ("field", "flower"), "fox_ears": ("animal_ears",), "full_moon": ("moon",),
    "greyscale": ("monochrome",), "hair_bow": ("bow",), "holding_umbrella": ("holding", "umbrella"),
    "jack-o'-lantern": ("pumpkin",), "kimono": ("japanese_clothes",), "maid_apron": ("apron", "maid"),
    "night_sky": ("night", "sky"), "pleated_skirt": ("skirt",), "rabbit_ears": ("animal_ears",),
    "serafuku": ("sailor_collar", "school_uniform"), "single_braid": ("braid",), "starry_sky": ("night_sky",),
    "sword": ("weapon",), "twin_braids": ("braid",), "twin_drills": ("drill_hair",),
    "twintails": ("long_hair",), "very_long_hair": ("long_hair",), "witch_hat": ("hat",),
}
# fmt: on


def general_tags() -> frozenset[str]:
    """All general tags that a picture can have."""
    tables = (
        *(HAIR_COLOURS, EYE_COLOURS, GIRL_HAIR, BOY_HAIR, BANGS, KINDS, HEADWEAR, BOY_HEADWEAR, BOW_COLOURS),
        *(EYEWEAR, GIRL_OUTFITS, BOY_OUTFITS, SKIRT_COLOURS, *COLOURED_OUTFITS.values()),
        *(LEGWEAR, FOOTWEAR, SCARF_COLOURS, EXPRESSIONS, POSES, HELD),
        *(BACKGROUNDS, CASTS, FRAMINGS, VIEWS, PALETTES, EFFECTS, FRAMES),
    )
    return frozenset(DETAIL_TAGS).union(*(table.tags() for table in tables))
