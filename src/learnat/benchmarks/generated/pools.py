"""Words that fill the rows. Ordinary, short, free of apostrophes; a database uses a part of each pool."""

from __future__ import annotations

from learnat.benchmarks.generated.words import words

FIRST_NAMES = words(
    "Ada Alan Alma Boris Carla Cyril Dana Diego Elena Emil Farah Felix Greta Hana Hugo Ines Ivan Jonas Julia Karim "
    "Kira Lars Leila Luca Mara Marco Mina Nadia Nils Olga Omar Paula Petra Quinn Rosa Samir Sofia Tariq Vera Yusuf"
)
LAST_NAMES = words(
    "Abbott Becker Bianchi Carter Castro Dalton Dietz Engel Fischer Flores Garcia Grant Haas Hansen Ibarra Jensen "
    "Keller Khan Lang Lopez Marsh Meyer Moreau Nolan Novak Okafor Olsen Park Perez Quist Rossi Sato Silva Stone Tanaka "
    "Turner Vogel Walsh Weber Young"
)
CITIES = words(
    "Arden Bristol Calgary Denver Essen Florence Geneva Houston Izmir Jaffa Kyoto Leeds Madrid Nantes Oslo Porto "
    "Quebec Riga Salem Turin Utrecht Vienna Warsaw York"
)
COUNTRIES = words(
    "Austria Brazil Canada Chile Denmark Egypt France Germany Greece India Italy Japan Kenya Mexico Norway Peru Poland "
    "Spain Sweden Turkey"
)
REGIONS = ("North", "South", "East", "West", "Central", "Coast", "Highland", "Valley")
ADJECTIVES = words(
    "Amber Ancient Blue Bright Broken Calm Crimson Distant Empty Frozen Gentle Golden Green Hidden Hollow Iron Lonely "
    "Lost Midnight Quiet Rapid Royal Scarlet Secret Silent Silver Stormy Velvet White Wild"
)
NOUNS = words(
    "Anchor Bridge Candle Castle Cloud Compass Crown Desert Dream Falcon Forest Garden Harbor Island Lantern Meadow "
    "Mirror Moon Mountain Ocean Orchard Palace River Road Shadow Star Tower Valley Voyage Winter"
)
FIRM_WORDS = words(
    "Acorn Alpine Apex Atlas Beacon Cedar Cobalt Comet Delta Eagle Ember Fable Harbor Helix Juniper Lotus Lunar Maple "
    "Nimbus Nova Onyx Orbit Pioneer Prairie Raven Sable Summit Tidal Union Zenith"
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
