"""Hotel, airline, logistics, car rental, energy."""

from __future__ import annotations

from learnat.benchmarks.generated.pools import CITIES, COUNTRIES, PERSON, PLATE, PLATE_NUMBERS, firm
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

HOTEL = Domain(
    "hotel",
    (
        table(
            "hotel; inn",
            label("name; hotel_name", "", *firm("Hotel", "Lodge", "Resort")),
            category("hotel_city; city", "city of the hotel", CITIES),
            code("stars", "number of stars", 1, 5, "=luxury; =budget"),
            year("opened", "opening year; year of opening", 1900, 2020, ">modern"),
        ),
        table(
            "room",
            label("room_code; code", "room number", tuple("ABCDEFGH"), PLATE_NUMBERS),
            category("room_type; type", "kind of room", ("double", "family", "single", "suite")),
            number("weekday_price; price", "price on weekdays", 40, 320, 5, terms=">expensive; <cheap"),
            number("weekend_price", "price on weekends", 50, 400, 5),
            number("beds", "number of beds", 1, 6),
            ref("hotel", "in", "with"),
            size="large",
        ),
        table(
            "guest; visitor",
            label("name; guest_name", "", *PERSON),
            category("country; home_country", "country of residence", COUNTRIES),
            code("tier; loyalty_tier", "loyalty level", 1, 4, "=premium; =basic"),
        ),
        table(
            "booking; stay",
            ref("room", "of", "with"),
            ref("guest", "made by", "who made"),
            date("check_in; arrival", "day of arrival", 2021, 2024),
            number("nights", "number of nights", 1, 21, 1, terms=">long; <short"),
            number("total_paid; amount", "amount paid", 60, 990, 5, nulls=0.15),
            size="large",
        ),
        table(
            "employee; worker",
            label("name; employee_name", "", *PERSON),
            category("role; position", "job in the hotel", ("cleaner", "clerk", "cook", "manager", "porter")),
            number("salary; pay", "monthly salary", 18, 88, 1),
            date("hire_date; hired", "date of hiring", 2008, 2023),
            ref("hotel", "working at", "that employed"),
        ),
    ),
    (LinkSpec("booking", "guest", "room", "who booked", "booked by"),),
)

AIRLINE = Domain(
    "airline",
    (
        table(
            "airline; carrier",
            label("name; airline_name", "", *firm("Air", "Airways", "Wings")),
            category("country; base_country", "home country", COUNTRIES),
            year("founded", "founding year; year of foundation", 1930, 2015, ">young"),
        ),
        table(
            "aircraft; plane",
            label("tail_code; code", "tail number", *PLATE),
            number("seats; seat_count", "number of seats", 60, 420, 2, terms=">large; <small"),
            number("flight_range; max_range", "range in kilometres", 120, 990, 10),
            year("built", "year of construction", 1992, 2022, "<old"),
            ref("airline", "owned by", "that owned"),
        ),
        table(
            "flight",
            category("origin; from_city", "departure city", CITIES),
            category("destination; to_city", "arrival city", CITIES),
            date("flight_date; departure", "day of departure", 2022, 2024),
            number("distance; miles", "distance covered", 120, 990, 5, terms=">long; <short"),
            number("delay; minutes_late", "delay in minutes", 2, 180, 1, nulls=0.25, terms=">late"),
            ref("aircraft", "flown by", "with"),
            size="large",
        ),
        table(
            "passenger; traveler",
            label("name; passenger_name", "", *PERSON),
            category("country; nationality", "country of citizenship", COUNTRIES),
            category("status; card", "frequent flyer status", ("blue", "gold", "none", "silver")),
        ),
        table(
            "ticket",
            ref("passenger", "bought by", "who bought"),
            ref("flight", "for", "with"),
            category("seat_class; cabin", "cabin class", ("business", "economy", "first")),
            number("fare; price", "ticket price", 45, 900, 5, terms=">expensive; <cheap"),
            number("bags; bag_count", "number of bags", 0, 6),
            size="large",
        ),
    ),
    (LinkSpec("ticket", "passenger", "flight", "who took", "taken by"),),
)

LOGISTICS = Domain(
    "logistics",
    (
        table(
            "depot; warehouse",
            label("name; depot_name", "", *firm("Depot", "Hub", "Yard")),
            category("city; depot_city", "city of the depot", CITIES),
            number("capacity; max_pallets", "number of pallets it holds", 50, 900, 10, terms=">large; <small"),
        ),
        table(
            "driver",
            label("name; driver_name", "", *PERSON),
            code("license_class; license", "class of driving license", 1, 4, "=heavy; =light"),
            number("experience; years_driving", "years of experience", 1, 38, 1, terms=">veteran"),
            number("salary; pay", "monthly salary", 20, 75, 1),
            ref("depot", "based at", "with"),
        ),
        table(
            "truck; vehicle",
            label("plate", "license plate", *PLATE),
            category("brand; make", "manufacturer", ("Atlas", "Bison", "Condor", "Mammoth", "Titan")),
            number("max_load; load_limit", "maximum load", 3, 40, 0.5),
            year("bought; purchase_year", "year of purchase", 2005, 2023, ">new; <old"),
            ref("depot", "parked at", "with"),
        ),
        table(
            "client; customer",
            label("name; client_name", "", *firm("Trading", "Foods", "Steel", "Paper")),
            category("client_city; head_city", "city of the client", CITIES),
            category("industry; sector", "line of business", ("food", "metal", "paper", "retail", "textile")),
        ),
        table(
            "shipment; transport",
            ref("client", "ordered by", "that ordered"),
            ref("driver", "carried by", "who carried"),
            date("ship_date; sent_on", "day of dispatch", 2021, 2024),
            number("weight; tons", "weight in tons", 0.5, 38, 0.5, terms=">heavy; <light"),
            number("distance; km", "distance driven", 20, 950, 5),
            number("price; freight", "price of the transport", 60, 980, 5, nulls=0.15),
            size="large",
        ),
    ),
    (LinkSpec("shipment", "driver", "client", "who served", "served by"),),
)

RENTAL = Domain(
    "rental",
    (
        table(
            "office; station",
            label("name; office_name", "", *firm("Rentals", "Drive", "Motors")),
            category("city; office_city", "city of the office", CITIES),
            number("parking_lots; lots", "number of parking lots", 8, 120, 1, terms=">large; <small"),
        ),
        table(
            "car; vehicle",
            label("plate", "license plate", *PLATE),
            category("brand; make", "manufacturer", ("Astra", "Corsa", "Delfin", "Kodo", "Polaris", "Vento")),
            category("fuel; fuel_type", "kind of fuel", ("diesel", "electric", "hybrid", "petrol")),
            number("daily_rate; day_price", "price per day", 25, 180, 0.5, terms=">expensive; <cheap"),
            number("weekend_rate", "price per weekend", 50, 330, 5),
            number("mileage; km_driven", "distance driven so far", 5, 240, 1, terms="<fresh"),
            ref("office", "kept at", "with"),
        ),
        table(
            "renter; customer",
            label("name; renter_name", "", *PERSON),
            category("country; home_country", "country of residence", COUNTRIES),
            year("license_year; licensed", "year of the driving license", 1975, 2022, ">novice"),
            category("status; club_status", "customer status", ("blue", "gold", "none", "silver"), nulls=0.15),
        ),
        table(
            "rental; hire",
            ref("car", "of", "with"),
            ref("renter", "made by", "who made"),
            date("start_date; pickup_date", "day of pickup", 2021, 2024),
            number("days; day_count", "number of days", 1, 30, 1, terms=">long; <short"),
            number("deposit", "security deposit", 50, 600, 5),
            number("damage_fee; damage_cost", "charge for damage", 20, 500, 5, nulls=0.5),
            size="large",
        ),
    ),
    (LinkSpec("rental", "renter", "car", "who rented", "rented by"),),
)

ENERGY = Domain(
    "energy",
    (
        table(
            "plant; power_plant",
            label("name; plant_name", "", *firm("Station", "Works", "Plant")),
            category("fuel; source", "energy source", ("coal", "gas", "hydro", "solar", "wind")),
            number("capacity; output_limit", "maximum output", 20, 950, 5, terms=">large; <small"),
            year("built", "year of construction", 1955, 2020, "<old"),
        ),
        table(
            "household; customer",
            label("name; holder_name", "account holder", *PERSON),
            category("city; home_city", "city of residence", CITIES),
            category("tariff; rate_plan", "kind of tariff", ("basic", "flex", "green", "night")),
            date("contract_date; signed_on", "day of the contract", 2012, 2023),
            ref("plant", "supplied by", "that supplied"),
        ),
        table(
            "reading; measurement",
            ref("household", "of", "with"),
            date("reading_date; read_on", "day of the reading", 2021, 2024),
            number("usage; consumption", "energy used", 40, 900, 5, terms=">excessive; <modest"),
            number("charge; amount_due", "amount charged", 12, 280, 0.5),
            number("paid; amount_paid", "amount paid", 0, 0, 0.5, base="charge", nulls=0.2),
            size="large",
        ),
        table(
            "technician; engineer",
            label("name; technician_name", "", *PERSON),
            code("level; skill_level", "level of skill", 1, 5, "=expert; =junior"),
            number("salary; pay", "monthly salary", 22, 90, 1),
        ),
        table(
            "repair; job",
            ref("technician", "done by", "who did"),
            ref("plant", "at", "with"),
            date("repair_date; done_on", "day of the repair", 2018, 2024),
            number("hours; work_hours", "time spent in hours", 1, 48, 0.5, terms=">lengthy"),
            number("cost; expense", "cost of the repair", 15, 600, 5, terms=">costly"),
            size="large",
        ),
    ),
    (LinkSpec("repair", "technician", "plant", "who serviced", "serviced by"),),
    (DerivedSpec("reading", "balance", "charge", "-", "paid"),),
)
