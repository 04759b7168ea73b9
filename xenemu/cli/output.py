"""Tables and lines for people. rich is imported only where a table is drawn."""

from typing import Any

COLUMNS = (
    ("id", "ID"),
    ("name", "NAME"),
    ("role", "ROLE"),
    ("services", "SERVICES"),
    ("state", "STATE"),
    ("memory", "MEMORY"),
    ("ip", "IP"),
    ("heartbeats", "HEARTBEATS"),
    ("connections", "PROTECTED"),
    ("log_percent", "LOG"),
    ("kept", "KEPT"),
)


def cell(key: str, value: Any) -> str:
    """One value of a table."""
    if key == "memory":
        return f"{value / (1 << 20):.0f}M"
    if key == "services":
        return " ".join(value) or "-"
    if key == "log_percent":
        return "-" if value < 0 else f"{value:.1f}%"
    return str(value)


def kept(row: dict[str, Any]) -> str:
    """Why a retired domain is kept, and for how long."""
    seconds = row["kept_seconds"]
    if row["kept"] == "migrated":
        return "until protected"
    if not row["kept"]:
        return "-"
    return "faulty, forever" if seconds is None else f"faulty, {seconds:.0f}s"


def print_domains(rows: list[dict[str, Any]]) -> None:
    """The table of `list`."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    right = {"id", "memory", "heartbeats", "connections", "log_percent"}
    for key, title in COLUMNS:
        table.add_column(title, justify="right" if key in right else "left", no_wrap=True)
    for row in rows:
        shown = row | {"kept": kept(row)}
        table.add_row(*(cell(key, shown[key]) for key, _ in COLUMNS))
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=160)
    console.print(table)


def event_line(event: dict[str, Any]) -> str:
    """One event: seconds, domain, name, details."""
    details = " ".join(f"{key}={value}" for key, value in event["details"].items())
    return f"{event['time'] / 1e9:12.6f} d{event['domain']} {event['name']} {details}".rstrip()
