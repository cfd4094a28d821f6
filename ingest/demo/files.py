"""The demo's data: a profile file, an event file with the columns of the guide's sample, and their manifests."""

from __future__ import annotations

import csv
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random

PROFILES = 2000
EVENTS = 5000
REJECTED_ROW = 17
EVENT_COLUMNS = {  # those of the guide's sample manifest
    "event_name": {"ctName": "evtName", "dataType": "String"},
    "time_stamp": {"ctName": "ts", "dataType": "Integer"},
    "identity": {"ctName": "identity", "dataType": "String"},
    "item_name": {"ctName": "Name", "dataType": "String"},
    "item_price": {"dataType": "Integer"},
    "item_delivery_date": {"ctName": "DeliveryDate", "dataType": "String"},
}

_NAMES = ("Ada", "Blaise", "Emmy", "Grace", "Katherine", "Leonhard", "Sofia", "Srinivasa")
_ITEMS = ("espresso", "notebook", "umbrella", 'a "quoted" thing', "tea, green")


def write_profiles(folder: Path) -> Path:
    """``users.csv``: `PROFILES` good rows; the first user is ``user-1``."""
    random = Random(1)  # noqa: S311  # sample data, the same each time
    path = folder / "users.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("identity", "full_name", "email", "phone", "tier", "score", "newsletter", "joined"))
        for number in range(1, PROFILES + 1):
            name = random.choice(_NAMES)
            joined = date(2024, 1, 1) + timedelta(days=random.randrange(600))
            writer.writerow(
                (
                    f"user-{number}",
                    name,
                    f"{name.lower()}.{number}@example.com",
                    f"+1415555{number:04d}",
                    random.choice(("Gold", "Silver", "Bronze")),
                    f"{random.uniform(0, 100):.2f}",
                    random.choice(("true", "false")),
                    joined.strftime("%d/%m/%Y"),
                )
            )
    return path


def write_events(folder: Path) -> Path:
    """``orders.csv``: `EVENTS` rows, of which row `REJECTED_ROW` has a price that is no whole number."""
    random = Random(2)  # noqa: S311  # sample data, the same each time
    start = datetime(2025, 1, 1, tzinfo=UTC)
    path = folder / "orders.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("event_name", "time_stamp", "identity", "item_name", "item_price", "item_delivery_date"))
        for row in range(1, EVENTS + 1):
            at = start + timedelta(minutes=random.randrange(500_000))
            price = "12.50" if row == REJECTED_ROW else random.randrange(1, 500)
            name = random.choice(("Charged", "Viewed"))
            user = f"user-{random.randrange(1, PROFILES)}"
            day = (at + timedelta(days=3)).strftime("%Y-%m-%d")
            writer.writerow((name, int(at.timestamp()), user, random.choice(_ITEMS), price, day))
    return path


def write_profile_manifest(folder: Path, data_file: str, client_email: str, key_id: str) -> Path:
    """``users.manifest``, in YAML."""
    path = folder / "users.manifest"
    path.write_text(f"""\
fileName: {data_file}
type: profile
clientEmail: {client_email}
keyId: {key_id}
columns:
  full_name: {{ ctName: Name }}
  email: {{ ctName: Email }}
  phone: {{ ctName: Phone }}
  tier: {{ ctName: Customer Type }}
  score: {{ dataType: Float }}
  newsletter: {{ dataType: Boolean }}
  joined: {{ dataType: Date, format: dd/MM/yyyy }}
""")
    return path


def write_event_manifest(
    folder: Path, data_file: str, client_email: str, key_id: str, *, name: str = "orders.manifest", **columns: object
) -> Path:
    """The guide's sample manifest, mended: a plain address; ``columns`` are added to its columns."""
    path = folder / name
    manifest = {
        "fileName": data_file,
        "type": "event",
        "columns": {**EVENT_COLUMNS, **columns},
        "clientEmail": client_email,
        "keyId": key_id,
    }
    path.write_text(json.dumps(manifest, indent=2) + "\n")
    return path
