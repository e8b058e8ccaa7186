"""Library, museum, music, cinema."""

from __future__ import annotations

from learnat.benchmarks.generated.pools import CITIES, COUNTRIES, LANGUAGES, PERSON, TITLE, firm
from learnat.benchmarks.generated.spec import (
    DerivedSpec,
    Domain,
    LinkSpec,
    category,
    code,
    date,
    label,
    number,
    ref,
    table,
    year,
)

LIBRARY = Domain(
    "library",
    (
        table(
            "author; writer",
            label("name; full_name", "", *PERSON),
            category("country; home_country", "country of origin", COUNTRIES),
            year("birth_year", "year of birth", 1925, 1992),
        ),
        table(
            "publisher; press",
            label("name; press_name", "", *firm("Press", "Books", "House")),
            category("city; head_city", "head office city", CITIES),
            year("founded", "founding year; year of foundation", 1880, 2010, ">young"),
        ),
        table(
            "book",
            label("title", "book title", *TITLE),
            category(
                "genre", "literary genre; kind of book", ("crime", "fantasy", "history", "poetry", "romance", "travel")
            ),
            number("pages; page_count", "number of pages; length in pages", 90, 820, 1, terms=">long; <short"),
            number("list_price", "full price", 8, 60, 0.5, terms=">expensive; <cheap"),
            number("discount_price; sale_price", "reduced price", 0, 0, 0.5, base="list_price"),
            ref("author", "written by", "who wrote"),
            ref("publisher", "published by", "that published"),
        ),
        table(
            "member; reader",
            label("name; member_name", "", *PERSON),
            category("city; home_city", "city of residence", CITIES),
            code("tier; level", "membership tier", 1, 4, "=premium; =basic"),
            date("join_date; joined", "date of joining", 2016, 2023),
        ),
        table(
            "loan",
            ref("member", "taken out by", "who took out"),
            ref("book", "of", "with"),
            date("loan_date", "day of the loan", 2021, 2024),
            number("days_kept; days", "number of days kept", 1, 60, 1, terms=">overlong"),
            number("fine", "late fine; penalty", 0.5, 20, 0.5, nulls=0.3),
            size="large",
        ),
    ),
    (LinkSpec("loan", "member", "book", "who borrowed", "borrowed by"),),
    (DerivedSpec("book", "saving", "list_price", "-", "discount_price"),),
)

MUSEUM = Domain(
    "museum",
    (
        table(
            "painter; artist",
            label("name; painter_name", "", *PERSON),
            category("country; birth_country", "country of birth", COUNTRIES),
            category(
                "style", "painting style; art style", ("baroque", "cubist", "modern", "naive", "romantic", "surreal")
            ),
            year("birth_year", "year of birth", 1650, 1960, "<early"),
        ),
        table(
            "hall; gallery",
            label("name; hall_name", "", *firm("Hall", "Wing", "Room")),
            code("floor", "floor number; storey", 0, 4, "=upper"),
            number("area; floor_area", "area in square metres", 40, 600, 5, terms=">spacious"),
        ),
        table(
            "painting; artwork",
            label("title", "name of the work", *TITLE),
            category("technique; medium", "material used", ("acrylic", "ink", "oil", "pastel", "tempera")),
            year("year_made; painted", "year of creation", 1700, 2015, ">recent"),
            number("insured_value", "insurance value", 90, 990, 5, terms=">precious"),
            number("market_value", "value on the market", 0, 0, 5, base="insured_value"),
            ref("painter", "painted by", "who painted"),
            ref("hall", "shown in", "that display"),
        ),
        table(
            "guide",
            label("name; guide_name", "", *PERSON),
            category("language; spoken_language", "language spoken", LANGUAGES),
            number("wage; hourly_wage", "pay per hour", 15, 48, 0.5),
            date("hire_date; hired", "date of hiring", 2009, 2023),
        ),
        table(
            "tour",
            ref("guide", "led by", "who led"),
            ref("hall", "through", "that hosted"),
            date("tour_date", "day of the tour", 2022, 2024),
            number("visitors", "number of visitors; audience size", 3, 60, 1, terms=">crowded"),
            number("ticket_price; price", "price of a ticket", 4, 30, 0.5),
            size="large",
        ),
    ),
    (LinkSpec("tour", "guide", "hall", "who showed visitors", "shown to visitors by"),),
    (
        DerivedSpec("tour", "income", "visitors", "*", "ticket_price"),
        DerivedSpec("painting", "gap", "insured_value", "-", "market_value"),
    ),
)

MUSIC = Domain(
    "music",
    (
        table(
            "label; record_label",
            label("name; label_name", "", *firm("Records", "Sound", "Audio")),
            category("country; base_country", "home country", COUNTRIES),
            year("founded", "founding year; year of foundation", 1950, 2015, ">young"),
        ),
        table(
            "artist; singer",
            label("name; stage_name", "artist name", *PERSON),
            category("style; music_style", "style of music", ("blues", "folk", "jazz", "pop", "rock", "soul")),
            category("country; birth_country", "country of birth", COUNTRIES),
            year("debut; debut_year", "year of the debut", 1975, 2020, ">new"),
            ref("label", "signed by", "that signed"),
        ),
        table(
            "album; record",
            label("title", "album title", *TITLE),
            date("release_date; released", "day of release", 1995, 2023),
            number("sales; copies_sold", "number of copies sold", 5, 900, 1, terms=">hit; <flop"),
            number("rating; critic_score", "score by critics", 1, 10, 0.1, nulls=0.15),
            ref("artist", "recorded by", "who recorded"),
        ),
        table(
            "song; track",
            label("title; song_title", "", *TITLE),
            number("seconds; length", "length in seconds; duration", 95, 480, 1, terms=">long; <short"),
            number("plays; play_count", "number of plays", 10, 990, 1, terms=">popular"),
            category("language; sung_in", "language of the lyrics", LANGUAGES),
            ref("album", "from", "with"),
            size="large",
        ),
        table(
            "concert; show",
            category("city; concert_city", "city of the concert", CITIES),
            date("concert_date; show_date", "day of the concert", 2018, 2024),
            number("audience; attendance", "number of people attending", 60, 990, 5, terms=">packed"),
            number("ticket_price; price", "price of a ticket", 12, 120, 0.5),
            ref("artist", "given by", "who gave"),
            size="large",
        ),
    ),
    (),
    (DerivedSpec("concert", "takings", "audience", "*", "ticket_price"),),
)

CINEMA = Domain(
    "cinema",
    (
        table(
            "director",
            label("name; director_name", "", *PERSON),
            category("country; home_country", "country of origin", COUNTRIES),
            year("birth_year; born", "year of birth", 1930, 1990),
        ),
        table(
            "film; movie",
            label("title", "film title", *TITLE),
            category(
                "genre", "film genre; kind of film", ("action", "comedy", "drama", "horror", "thriller", "western")
            ),
            number("minutes; running_time", "length in minutes", 75, 210, 1, terms=">long; <short"),
            number("gross", "box office; total earnings", 20, 900, 1, terms=">blockbuster"),
            number("budget", "production cost", 0, 0, 1, base="gross"),
            year("release_year; released", "year of release", 1970, 2023, ">recent; <classic"),
            ref("director", "directed by", "who directed"),
        ),
        table(
            "theater; cinema",
            label("name; theater_name", "", *firm("Palace", "Cinema", "Screen")),
            category("city; theater_city", "place", CITIES),
            number("screens", "number of screens", 1, 24, 1, terms=">large"),
            year("opened", "opening year; year of opening", 1920, 2018),
        ),
        table(
            "screening; showing",
            ref("film", "of", "with"),
            ref("theater", "held in", "that held"),
            date("show_date; screening_date", "day of the screening", 2022, 2024),
            number("price; ticket_price", "price of a ticket", 5, 25, 0.5),
            number("tickets_sold; sold", "number of tickets sold", 4, 320, 1, terms=">busy"),
            size="large",
        ),
        table(
            "critic",
            label("name; critic_name", "", *PERSON),
            category("journal; newspaper", "magazine", ("Daily Echo", "Globe", "Herald", "Mirror", "Tribune")),
        ),
        table(
            "review",
            ref("critic", "written by", "who wrote"),
            ref("film", "about", "with"),
            number("stars; score", "number of stars", 1, 10, 0.5, terms=">glowing"),
            date("review_date", "day of the review", 2021, 2024),
            size="large",
        ),
    ),
    (
        LinkSpec("screening", "theater", "film", "that screened", "screened in"),
        LinkSpec("review", "critic", "film", "who reviewed", "reviewed by"),
    ),
    (
        DerivedSpec("film", "profit", "gross", "-", "budget"),
        DerivedSpec("screening", "income", "price", "*", "tickets_sold"),
    ),
)
