"""Retail, restaurants, farm co-operative, real estate."""

from __future__ import annotations

from learnat.benchmarks.generated.pools import ADDRESS, CITIES, COUNTRIES, PERSON, REGIONS, TITLE, firm
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

RETAIL = Domain(
    "retail",
    (
        table(
            "store; shop",
            label("name; store_name", "", *firm("Market", "Store", "Corner")),
            category("store_city; city", "city of the store", CITIES),
            number("area; floor_area", "area in square metres", 60, 900, 5, terms=">large; <small"),
            year("opened", "opening year; year of opening", 1975, 2022),
        ),
        table(
            "supplier; vendor",
            label("name; supplier_name", "", *firm("Trading", "Supply", "Goods")),
            category("country; home_country", "country of the supplier", COUNTRIES),
            number("rating; score", "quality rating", 1, 5, 0.1, terms=">reliable"),
        ),
        table(
            "product; article",
            label("name; product_name", "", *firm("Lamp", "Chair", "Kettle", "Clock", "Jacket")),
            category(
                "category; product_group",
                "product category",
                ("clothing", "food", "garden", "kitchen", "office", "toys"),
            ),
            number("list_price; price", "selling price", 5, 190, 0.5, terms=">expensive; <cheap"),
            number("cost; unit_cost", "purchase cost", 0, 0, 0.5, base="list_price"),
            number("stock; in_stock", "units in stock", 5, 400, 1, terms="<scarce"),
            ref("supplier", "supplied by", "that supplied"),
        ),
        table(
            "customer; shopper",
            label("name; customer_name", "", *PERSON),
            category("city; home_city", "city of residence", CITIES),
            code("segment; customer_class", "customer class", 1, 4, "=premium; =basic"),
            date("signup_date; registered", "date of registration", 2015, 2023),
        ),
        table(
            "sale; purchase",
            ref("customer", "made by", "who made"),
            ref("product", "of", "with"),
            ref("store", "at", "that made"),
            date("sale_date; sold_on", "day of the sale", 2021, 2024),
            number("quantity; units", "number of units", 1, 25, 1, terms=">bulk"),
            number("unit_price; paid_price", "price paid per unit", 4, 180, 0.5),
            size="large",
        ),
    ),
    (LinkSpec("sale", "customer", "product", "who bought", "bought by"),),
    (
        DerivedSpec("product", "margin", "list_price", "-", "cost"),
        DerivedSpec("sale", "revenue", "quantity", "*", "unit_price"),
    ),
)

RESTAURANT = Domain(
    "restaurant",
    (
        table(
            "restaurant; diner",
            label("name; restaurant_name", "", *firm("Grill", "Kitchen", "Table")),
            category("city; town", "place", CITIES),
            category("cuisine", "kind of cuisine", ("French", "Greek", "Indian", "Italian", "Mexican", "Thai")),
            number("seats; places", "number of seats", 16, 180, 2, terms=">large; <small"),
        ),
        table(
            "chef; cook",
            label("name; chef_name", "", *PERSON),
            number("experience; years_active", "years of experience", 1, 40, 1, terms=">veteran"),
            number("salary; pay", "monthly salary", 20, 95, 1),
            ref("restaurant", "working at", "that employed"),
        ),
        table(
            "dish; meal",
            label("name; dish_name", "", *firm("Soup", "Curry", "Salad", "Stew", "Tart")),
            category("course; menu_part", "part of the menu", ("dessert", "main", "side", "starter")),
            number("price; menu_price", "price on the menu", 5, 48, 0.5, terms=">expensive; <cheap"),
            number("calories", "energy in calories", 120, 980, 5, terms="<light"),
            ref("chef", "created by", "who created"),
        ),
        table(
            "guest; diner_guest",
            label("name; guest_name", "", *PERSON),
            category("home_city", "city of residence", CITIES),
            code("loyalty; status_level", "loyalty level", 1, 4, "=regular; =gold"),
        ),
        table(
            "bill; invoice",
            ref("guest", "paid by", "who paid"),
            ref("restaurant", "issued by", "that issued"),
            date("bill_date", "day of the bill", 2022, 2024),
            number("amount; total", "total amount", 12, 320, 0.5, terms=">high"),
            number("tip", "tip given; gratuity", 1, 40, 0.5, nulls=0.2),
            number("persons; party_size", "size of the party", 1, 12),
            size="large",
        ),
    ),
    (LinkSpec("bill", "guest", "restaurant", "who ate at", "visited by"),),
)

FARM = Domain(
    "farm",
    (
        table(
            "farm",
            label("name; farm_name", "", *firm("Farm", "Ranch", "Acres")),
            category("region; district", "part of the country", REGIONS),
            number("acres; land_area", "size in acres", 20, 900, 5, terms=">large; <small"),
            year("founded", "founding year; year of foundation", 1870, 2015, "<old"),
        ),
        table(
            "crop; plant",
            label("name; crop_name", "variety", *firm("Wheat", "Barley", "Corn", "Oats", "Bean")),
            category("season; sowing_season", "sowing season", ("fall", "spring", "summer", "winter")),
            number("market_price; price", "price per ton", 80, 480, 5, terms=">valuable"),
            number("growth_days", "days to ripen", 50, 240, 1, terms="<fast"),
        ),
        table(
            "harvest; yield",
            ref("farm", "brought in by", "that brought in"),
            ref("crop", "of", "with"),
            date("harvest_date; picked_on", "day of the harvest", 2019, 2024),
            number("tons; weight", "weight in tons", 2, 95, 0.5, terms=">rich; <poor"),
            number("moisture", "share of water", 8, 25, 0.1, nulls=0.15),
            size="large",
        ),
        table(
            "buyer; trader",
            label("name; buyer_name", "", *firm("Mills", "Foods", "Bakery")),
            category("city; buyer_city", "city of the buyer", CITIES),
            category("type; kind", "kind of business", ("baker", "brewer", "exporter", "miller")),
        ),
        table(
            "delivery; shipment",
            ref("buyer", "sent to", "that received"),
            ref("farm", "sent by", "that sent"),
            date("delivery_date; sent_on", "day of delivery", 2020, 2024),
            number("load; sent_tons", "delivered weight", 1, 40, 0.5),
            number("transport_cost; freight", "cost of transport", 15, 300, 5, terms=">costly"),
            size="large",
        ),
    ),
    (
        LinkSpec("harvest", "farm", "crop", "that grew", "grown by"),
        LinkSpec("delivery", "farm", "buyer", "that supplied", "supplied by"),
    ),
)

ESTATE = Domain(
    "estate",
    (
        table(
            "agent; realtor",
            label("name; agent_name", "", *PERSON),
            category("office_city; office", "city of the office", CITIES),
            number("commission", "commission rate; fee share", 1, 6, 0.1, terms=">pricey"),
            date("hire_date; hired", "date of hiring", 2008, 2023),
        ),
        table(
            "house; home",
            label("address", "postal address", *ADDRESS),
            category("city; town", "place", CITIES),
            category("type; house_type", "kind of building", ("cottage", "duplex", "flat", "loft", "villa")),
            number("rooms; room_count", "number of rooms", 1, 12, 1, terms=">spacious"),
            number("asking_price", "price asked", 90, 950, 5, terms=">expensive; <cheap"),
            number("sold_price; final_price", "price at sale", 0, 0, 5, base="asking_price", nulls=0.25),
            ref("agent", "offered by", "who offered"),
        ),
        table(
            "buyer; client",
            label("name; buyer_name", "", *PERSON),
            number("budget; max_price", "highest affordable price", 100, 900, 10, terms=">rich"),
            category("current_city; living_city", "present city", CITIES),
        ),
        table(
            "viewing; visit",
            ref("house", "of", "with"),
            ref("buyer", "made by", "who made"),
            date("viewing_date; seen_on", "day of the viewing", 2021, 2024),
            number("offer; bid", "amount offered", 80, 900, 5, nulls=0.3),
            number("minutes; duration", "length in minutes", 10, 95, 5, terms="<brief"),
            size="large",
        ),
        table(
            "repair; renovation",
            ref("house", "on", "with"),
            category("part; work_area", "part repaired", ("bath", "door", "heating", "kitchen", "roof")),
            number("cost; expense", "cost of the work", 5, 120, 0.5),
            date("repair_date", "day of the work", 2015, 2024),
            size="large",
        ),
    ),
    (LinkSpec("viewing", "buyer", "house", "who viewed", "viewed by"),),
)

EVENTS = Domain(
    "events",
    (
        table(
            "venue; location",
            label("name; venue_name", "", *firm("Hall", "Forum", "Center")),
            category("city; venue_city", "city of the venue", CITIES),
            number("capacity; max_guests", "number of guests it holds", 60, 950, 10, terms=">large; <small"),
            number("daily_rent; rent", "rent per day", 90, 900, 5),
        ),
        table(
            "planner; organizer",
            label("name; planner_name", "", *PERSON),
            category("base_city; office_city", "city of the office", CITIES),
            number("experience; years_active", "years of experience", 1, 30, 1, terms=">veteran"),
        ),
        table(
            "event; party",
            label("title; event_title", "event name", *TITLE),
            category("type; event_type", "kind of event", ("concert", "fair", "gala", "meeting", "wedding")),
            date("event_date; held_on", "day of the event", 2021, 2024),
            number("visitors; guest_count", "number of visitors", 20, 900, 5, terms=">crowded"),
            number("ticket_price; entry_price", "price of a ticket", 5, 90, 0.5, nulls=0.15),
            ref("venue", "held at", "that hosted"),
            ref("planner", "organized by", "who organized"),
            size="large",
        ),
        table(
            "sponsor",
            label("name; sponsor_name", "", *firm("Bank", "Motors", "Drinks")),
            category("industry; sector", "line of business", ("cars", "energy", "fashion", "finance", "food")),
            code("tier; rank", "sponsor tier", 1, 4, "=platinum; =silver"),
        ),
        table(
            "pledge; donation",
            ref("sponsor", "made by", "that made"),
            ref("event", "for", "with"),
            number("amount; sum_given", "amount pledged", 10, 500, 5, terms=">generous"),
            date("pledge_date", "day of the pledge", 2020, 2024),
            size="large",
        ),
    ),
    (LinkSpec("pledge", "sponsor", "event", "that sponsored", "sponsored by"),),
)
