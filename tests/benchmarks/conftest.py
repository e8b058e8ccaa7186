"""Small made-up benchmarks in the official layouts, with real SQLite files."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

SHOP_SQL = """
CREATE TABLE customer (customer_id INTEGER PRIMARY KEY, Full_Name VARCHAR(40), city TEXT, note BLOB);
CREATE TABLE "order" (id INTEGER, line INTEGER, customer_id INT, `Unit Price` REAL,
    PRIMARY KEY (id, line), FOREIGN KEY (customer_id) REFERENCES customer (customer_id));
INSERT INTO customer VALUES (1, 'Ada Byron', 'Paris', x'00ff'), (2, 'Bo O''Neil', NULL, NULL),
    (3, 'Ada Byron', 'Rome', NULL);
INSERT INTO "order" VALUES (7, 1, 1, 2.5), (7, 2, 1, 4.0), (8, 1, 3, 2.5);
"""
SHOP_TABLES = {
    "db_id": "shop",
    "table_names_original": ["customer", "order"],
    "table_names": ["customer", "customer order"],
    "column_names_original": [
        [-1, "*"],
        [0, "customer_id"],
        [0, "Full_Name"],
        [0, "city"],
        [0, "note"],
        [1, "id"],
        [1, "line"],
        [1, "customer_id"],
        [1, "Unit Price"],
    ],
    "column_names": [
        [-1, "*"],
        [0, "customer id"],
        [0, "full name"],
        [0, "home town"],
        [0, "note"],
        [1, "order number"],
        [1, "line"],
        [1, "customer id"],
        [1, "unit price"],
    ],
    "column_types": ["text", "number", "text", "text", "others", "number", "number", "number", "number"],
    "primary_keys": [1, 5],
    "foreign_keys": [[7, 1]],
}
GARDEN_TABLES = {
    "db_id": "garden",
    "table_names_original": ["plant", "sqlite_sequence"],
    "table_names": ["plant", "sqlite sequence"],
    "column_names_original": [[-1, "*"], [0, "id"], [0, "planted"], [1, "name"]],
    "column_names": [[-1, "*"], [0, "id"], [0, "planted"], [1, "name"]],
    "column_types": ["text", "number", "time", "text"],
    "primary_keys": [1],
    "foreign_keys": [],
}


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1), encoding="utf-8")


def write_database(path: Path, script: str = SHOP_SQL) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)


def spider_row(db_id: str, query: str, question: str = "Which?") -> dict[str, str]:
    return {"db_id": db_id, "query": query, "question": question}


def bird_row(db_id: str, sql: str, question: str = "Which?", **more: Any) -> dict[str, Any]:
    return {"db_id": db_id, "question": question, "evidence": "", "SQL": sql, **more}


@pytest.fixture
def spider_root(tmp_path: Path) -> Path:
    """Spider with one database file, ``shop``; that of ``garden`` is missing."""
    root = tmp_path / "spider"
    write_json(root / "tables.json", [SHOP_TABLES, GARDEN_TABLES])
    dev = [
        spider_row("shop", "SELECT count(*) FROM customer", " How many customers? "),
        spider_row("shop", "SELECT Full_Name FROM customer WHERE city = 'Rome'"),
        spider_row("shop", "SELECT city FROM customer"),
    ]
    write_json(root / "dev.json", dev)
    write_json(
        root / "train_spider.json",
        [
            spider_row("shop", "SELECT city FROM customer ORDER BY city"),
            spider_row("garden", "SELECT id FROM plant"),
            spider_row("shop", "SELECT id FROM `order`"),
        ],
    )
    write_json(
        root / "train_others.json",
        [spider_row("garden", "SELECT count(*) FROM plant"), spider_row("shop", "SELECT line FROM `order`")],
    )
    write_database(root / "database" / "shop" / "shop.sqlite")
    return root


@pytest.fixture
def bird_root(tmp_path: Path) -> Path:
    """BIRD's dev as its download unpacks, with one of two databases; the CSV files are Windows-1252 and UTF-8-BOM."""
    root = tmp_path / "bird"
    home = root / "dev_20240627"
    write_json(
        home / "dev.json",
        [
            bird_row("garden", "SELECT id FROM plant", question_id=0, difficulty="simple"),
            bird_row("shop", "SELECT city FROM customer", question_id=1, evidence="town = city", difficulty="moderate"),
            bird_row("shop", "SELECT `Unit Price` FROM `order`", question_id=2, difficulty="challenging"),
        ],
    )
    tables = {**SHOP_TABLES, "primary_keys": [1, [5, 6]], "column_types": [
        "text", "integer", "text", "text", "blob", "integer", "integer", "integer", "real"
    ]}  # fmt: skip
    write_json(home / "dev_tables.json", [tables, GARDEN_TABLES])
    folder = home / "dev_databases" / "shop"
    write_database(folder / "shop.sqlite")
    descriptions = folder / "database_description"
    descriptions.mkdir()
    header = "original_column_name,column_name,column_description,data_format,value_description\n"
    (descriptions / "Customer.csv").write_bytes(
        (
            header + 'city ,home town,the town of the customer’s home,text,"commonsense evidence:\n'
            '• Rome: Italy"\nFull_Name,full name,Full Name,text,\n'
        ).encode("cp1252")
    )
    (descriptions / "order.csv").write_bytes(
        (header + "id,order number,order number,integer,unique\n").encode("utf-8-sig")
    )
    return root
