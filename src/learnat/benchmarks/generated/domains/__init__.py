"""The hand-written domains.

``TRAINING`` are those that training databases come from. ``HELD_OUT`` are met in ``dev_unseen`` only, unless a
benchmark asks for unseen databases over known words.
"""

from __future__ import annotations

from learnat.benchmarks.generated.domains.culture import CINEMA, LIBRARY, MUSEUM, MUSIC
from learnat.benchmarks.generated.domains.people import CLINIC, GYM, INSURANCE, SCHOOL, SOFTWARE
from learnat.benchmarks.generated.domains.trade import ESTATE, EVENTS, FARM, RESTAURANT, RETAIL
from learnat.benchmarks.generated.domains.transport import AIRLINE, ENERGY, HOTEL, LOGISTICS, RENTAL
from learnat.benchmarks.generated.spec import Domain

TRAINING: tuple[Domain, ...] = (
    LIBRARY,
    CLINIC,
    RETAIL,
    AIRLINE,
    SCHOOL,
    HOTEL,
    MUSIC,
    LOGISTICS,
    GYM,
    RESTAURANT,
    ENERGY,
    ESTATE,
    CINEMA,
    INSURANCE,
)
HELD_OUT: tuple[Domain, ...] = (MUSEUM, RENTAL, FARM, SOFTWARE, EVENTS)
