"""Words that fill the rows. Ordinary, short, free of apostrophes; a database uses a part of each pool."""

from __future__ import annotations

from learnat.benchmarks.generated.words import words

FIRST_NAMES = words(
    "Ada Boris Carla Diego Elena Felix Greta Hugo Ines Jonas Kira Lars Mara Nadia Omar Petra Quinn Rosa Samir Tariq "
    "Uma Vera Wanda Yusuf"
)
LAST_NAMES = words(
    "Abbott Becker Castro Dietz Engel Fischer Garcia Hansen Ibarra Jensen Keller Lopez Meyer Novak Olsen Perez Quist "
    "Rossi Silva Tanaka Vogel Walsh Young Zeller"
)
CITIES = words(
    "Arden Bristol Calgary Denver Essen Florence Geneva Houston Izmir Kyoto Leeds Madrid Oslo Porto Riga Turin"
)
COUNTRIES = words(
    "Austria Brazil Canada Chile Egypt France Greece India Italy Japan Kenya Mexico Norway Peru Spain Sweden"
)
REGIONS = ("North", "South", "East", "West", "Central", "Coast", "Highland", "Valley")
ADJECTIVES = words(
    "Amber Ancient Blue Bright Broken Crimson Distant Empty Frozen Gentle Golden Hidden Lonely Midnight Quiet Royal "
    "Secret Silent Velvet Wild"
)
NOUNS = words(
    "Anchor Bridge Castle Compass Crown Desert Dream Falcon Forest Garden Harbor Island Lantern Meadow Mirror Orchard "
    "River Shadow Tower Winter"
)
FIRM_WORDS = words(
    "Acorn Alpine Apex Atlas Beacon Cedar Cobalt Comet Delta Eagle Ember Fable Helix Juniper Lotus Maple Nova Orbit "
    "Raven Summit"
)
STREETS = words("Ash Birch Canal Church Elm Garden Hill King Lake Market Mill Oak Park Pine Queen Station")
HOUSE_NUMBERS = tuple(str(number) for number in range(3, 99, 4))
PLATES = ("AK", "BT", "CM", "DR", "EL", "FN", "GS", "HV")
PLATE_NUMBERS = tuple(str(number) for number in range(104, 990, 23))
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
LANGUAGES = ("English", "French", "German", "Hindi", "Italian", "Japanese", "Polish", "Spanish", "Turkish")
JOBS = ("baker", "clerk", "dentist", "driver", "farmer", "lawyer", "nurse", "painter", "pilot", "teacher")


def firm(*kinds: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The two halves of a firm's name: a word and one of ``kinds``."""
    return FIRM_WORDS, kinds


PERSON = (FIRST_NAMES, LAST_NAMES)
TITLE = (ADJECTIVES, NOUNS)
ADDRESS = (HOUSE_NUMBERS, tuple(f"{street} {kind}" for street in STREETS for kind in ("Street", "Lane")))
PLATE = (PLATES, PLATE_NUMBERS)
