"""Clinic, school, gym, insurance, software firm."""

from __future__ import annotations

from learnat.benchmarks.generated.pools import CITIES, JOBS, PERSON, PLATE, TITLE, WEEKDAYS, firm
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

CLINIC = Domain(
    "clinic",
    (
        table(
            "doctor; physician",
            label("name; doctor_name", "", *PERSON),
            category(
                "specialty; field", "medical field", ("cardiology", "dermatology", "neurology", "pediatrics", "surgery")
            ),
            number("salary", "yearly pay; annual salary", 70, 240, 1, terms=">senior"),
            year("hire_year; hired", "year of hiring", 1995, 2023),
        ),
        table(
            "patient",
            label("name; patient_name", "", *PERSON),
            category("city; home_city", "city of residence", CITIES),
            year("birth_year; born", "year of birth", 1935, 2015, "<elderly; >young"),
            category("insurer; insurance", "insurance company", ("Aegis", "Carewell", "Medlife", "Vitalis"), nulls=0.2),
        ),
        table(
            "visit; appointment",
            ref("doctor", "handled by", "who handled"),
            ref("patient", "of", "with"),
            date("visit_date", "day of the visit", 2021, 2024),
            category("reason", "reason for the visit; cause", ("allergy", "checkup", "fever", "injury", "vaccine")),
            number("fee; cost", "amount charged", 40, 480, 5, terms=">costly"),
            number("copay; own_share", "part paid by the patient", 0, 0, 5, base="fee"),
            size="large",
        ),
        table(
            "medicine; drug",
            label("name; brand_name", "brand", *firm("Forte", "Plus", "Retard")),
            category("form; dosage_form", "form of the medicine", ("capsule", "cream", "spray", "syrup", "tablet")),
            number("unit_price; price", "price per unit", 2, 60, 0.5, terms=">expensive"),
        ),
        table(
            "prescription",
            ref("visit", "issued at", "with"),
            ref("medicine", "for", "with"),
            number("units; quantity", "number of units", 1, 12),
            number("days; duration", "length of treatment in days", 3, 60),
            size="large",
        ),
    ),
    (LinkSpec("visit", "doctor", "patient", "who treated", "treated by"),),
    (DerivedSpec("visit", "reimbursement", "fee", "-", "copay"),),
)

SCHOOL = Domain(
    "school",
    (
        table(
            "teacher",
            label("name; teacher_name", "", *PERSON),
            category("subject", "subject taught", ("art", "biology", "chemistry", "history", "math", "physics")),
            number("salary; pay", "monthly salary", 25, 78, 1),
            year("hire_year; start_year", "year of hiring", 1990, 2023, ">new; <veteran"),
        ),
        table(
            "course; lesson",
            label("title; course_title", "course name", *TITLE),
            code("credits", "number of credits", 1, 6, "=major"),
            category("weekday; day", "day of the week", WEEKDAYS[:5]),
            number("seats; capacity", "number of seats", 12, 90),
            ref("teacher", "taught by", "who taught"),
        ),
        table(
            "student; pupil",
            label("name; student_name", "", *PERSON),
            code("grade; class_year", "school grade", 7, 12, "=senior; =junior"),
            category("city; home_city", "city of residence", CITIES),
            date("birth_date; born", "day of birth", 2004, 2011),
        ),
        table(
            "enrollment; registration",
            ref("student", "of", "with"),
            ref("course", "for", "with"),
            category("term; semester", "school term", ("fall", "spring", "summer", "winter")),
            number("final_score", "final mark; end result", 30, 100, 1, terms=">excellent"),
            number("midterm_score; test_score", "midterm mark", 30, 100, 1, nulls=0.15),
            size="large",
        ),
        table(
            "club",
            label("name; club_name", "", *firm("Club", "Circle", "Team")),
            category("meeting_day", "day of meeting", WEEKDAYS),
            number("fee; yearly_fee", "membership fee", 5, 60, 0.5, terms=">pricey"),
            ref("teacher", "run by", "who ran"),
        ),
    ),
    (LinkSpec("enrollment", "student", "course", "who attended", "attended by"),),
)

GYM = Domain(
    "gym",
    (
        table(
            "branch; studio",
            label("name; branch_name", "", *firm("Gym", "Fitness", "Arena")),
            category("branch_city; location", "city of the branch", CITIES),
            number("monthly_fee; fee", "fee per month", 19, 95, 0.5, terms=">exclusive"),
            year("opened", "opening year; year of opening", 1998, 2022),
        ),
        table(
            "trainer; coach",
            label("name; trainer_name", "", *PERSON),
            category("specialty; sport", "main discipline", ("boxing", "cycling", "pilates", "rowing", "yoga")),
            number("hourly_rate; rate", "pay per hour", 18, 75, 0.5, terms=">expensive"),
            ref("branch", "employed at", "that employed"),
        ),
        table(
            "member; client",
            label("name; member_name", "", *PERSON),
            category("city; home_city", "city of residence", CITIES),
            category("plan; membership", "type of membership", ("basic", "family", "gold", "student")),
            date("join_date; joined", "date of joining", 2017, 2024),
            ref("branch", "registered at", "that registered"),
        ),
        table(
            "workout; session",
            category("level; difficulty", "level of difficulty", ("advanced", "beginner", "medium")),
            number("minutes; duration", "length in minutes", 20, 120, 5, terms=">long; <short"),
            number("capacity; places", "number of places", 4, 40),
            category("weekday; day", "day of the week", WEEKDAYS),
            ref("trainer", "led by", "who led"),
            size="large",
        ),
        table(
            "signup; booking",
            ref("member", "made by", "who made"),
            ref("workout", "for", "with"),
            date("signup_date; booked_on", "day of booking", 2022, 2024),
            number("rating; stars", "rating given; score", 1, 10, 0.5, nulls=0.2),
            size="large",
        ),
    ),
    (LinkSpec("signup", "member", "workout", "who booked", "booked by"),),
)

INSURANCE = Domain(
    "insurance",
    (
        table(
            "broker; agent",
            label("name; broker_name", "", *PERSON),
            category("office_city", "city of the office", CITIES),
            number("rating; score", "customer rating", 1, 5, 0.1, terms=">trusted"),
        ),
        table(
            "client; customer",
            label("name; client_name", "", *PERSON),
            category("job; profession", "occupation", JOBS),
            category("city; home_city", "city of residence", CITIES),
            date("birth_date; born", "day of birth", 1945, 2004),
        ),
        table(
            "policy; contract",
            label("policy_code; code", "policy number", *PLATE),
            category("type; kind", "type of cover", ("car", "health", "home", "life", "travel")),
            number("premium", "yearly premium; annual price", 60, 900, 5, terms=">expensive"),
            number("coverage; limit_amount", "insured amount", 100, 990, 10),
            date("start_date", "start of the contract", 2012, 2023),
            ref("client", "held by", "who held"),
            ref("broker", "sold by", "who sold"),
        ),
        table(
            "claim",
            ref("policy", "under", "with"),
            date("claim_date; filed_on", "day of filing", 2019, 2024),
            category("status; state", "state of the claim", ("closed", "denied", "open", "review")),
            number("amount; claimed", "amount asked for", 20, 800, 5, terms=">major; <minor"),
            number("paid; paid_out", "amount paid", 0, 0, 5, base="amount"),
            size="large",
        ),
    ),
    (LinkSpec("policy", "broker", "client", "who insured", "insured by"),),
    (DerivedSpec("claim", "shortfall", "amount", "-", "paid"),),
)

SOFTWARE = Domain(
    "software",
    (
        table(
            "team; squad",
            label("name; team_name", "", *firm("Squad", "Crew", "Lab")),
            category("focus; area", "field of work", ("backend", "data", "design", "mobile", "security")),
            number("budget; team_budget", "yearly budget", 80, 900, 5),
        ),
        table(
            "engineer; developer",
            label("name; engineer_name", "", *PERSON),
            code("grade; seniority", "seniority grade", 1, 5, "=junior; =principal"),
            number("salary; pay", "annual salary", 38, 180, 1),
            date("hire_date; hired", "date of hiring", 2010, 2024),
            ref("team", "working in", "that employed"),
        ),
        table(
            "project; product",
            label("title; project_title", "project name", *TITLE),
            category("client_city", "city of the client", CITIES),
            number("planned_hours", "hours planned", 120, 990, 5, terms=">large"),
            number("spent_hours; used_hours", "hours used so far", 0, 0, 5, base="planned_hours"),
            date("deadline; due_date", "due day", 2022, 2025),
            ref("team", "owned by", "that owned"),
        ),
        table(
            "task; issue",
            category("priority", "urgency", ("high", "low", "medium", "urgent")),
            category("status; state", "current state", ("blocked", "done", "open", "testing")),
            number("hours; effort", "effort in hours", 1, 60, 0.5, terms=">heavy; <light"),
            date("opened; open_date", "day of opening", 2021, 2024),
            ref("engineer", "assigned to", "who took"),
            ref("project", "within", "with"),
            size="large",
        ),
    ),
    (LinkSpec("task", "engineer", "project", "who worked on", "worked on by"),),
    (DerivedSpec("project", "slack", "planned_hours", "-", "spent_hours"),),
)
