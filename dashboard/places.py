"""What the source's values are called, and where its countries are on the map: longitude and latitude in degrees."""

from dashboard.words import word
from spark.contract import AGE_BAND

PLACES: dict[str, tuple[float, float]] = {
    word("Australia"): (134.0, -25.0),
    word("Brazil"): (-53.0, -11.0),
    word("Canada"): (-106.0, 57.0),
    word("Denmark"): (9.3, 56.0),
    word("Finland"): (26.0, 63.0),
    word("France"): (2.5, 46.6),
    word("Germany"): (10.4, 51.1),
    word("India"): (79.0, 22.0),
    word("Iran"): (54.0, 32.5),
    word("Ireland"): (-8.0, 53.2),
    word("Mexico"): (-102.5, 23.9),
    word("Netherlands"): (5.5, 52.2),
    word("New Zealand"): (172.0, -42.0),
    word("Norway"): (9.5, 61.0),
    word("Serbia"): (20.8, 44.2),
    word("Spain"): (-3.6, 40.2),
    word("Switzerland"): (8.2, 46.8),
    word("Turkey"): (35.2, 39.0),
    word("Ukraine"): (31.4, 49.0),
    word("United Kingdom"): (-1.8, 53.0),
    word("United States"): (-98.0, 39.5),
}
NATIONALITIES = (
    "AU",
    "BR",
    "CA",
    "CH",
    "DE",
    "DK",
    "ES",
    "FI",
    "FR",
    "GB",
    "IE",
    "IN",
    "IR",
    "MX",
    "NL",
    "NO",
    "NZ",
    "RS",
    "TR",
    "UA",
    "US",
)
AGES = tuple(str(first) for first in range(0, 100, AGE_BAND))
GENDERS = {"female": word("Female"), "male": word("Male")}
