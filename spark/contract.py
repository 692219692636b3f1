"""
What the lanes promise to every reader of the stores: collections, tables, keys, dimensions, windows.

MongoDB, database `vigie`
    users     one document a user, `_id` = login.uuid; `fetched_at`, `appended_at`, `stored_at` (UTC) say when it was
              fetched, appended to users.raw, and inserted; the rest is services.contract.UserEvent
    newest    one document a partition of users.raw, `_id` = its number: `users`, the last NEWEST it brought, newest
              last, each {user_id, first, last, country, gender, age, fetched_at, stored_at}; a page reads them all

Cassandra, keyspace `vigie`: every row is the full value of its key, never an increment
    stats_by_minute   (dimension, day) -> minute, value: users, age_sum; minutes of the broker's append time
    totals            (period) -> dimension, value: users, age_sum; period is `all` or a day, `2026-11-24`: one read is
                      a page's whole picture
    lanes             (lane) -> summed_at, newest: when the stats lane last wrote, and the newest `fetched_at` in it
    schema_version    (name) -> version
"""

DATABASE = KEYSPACE = "vigie"
SCHEMA_VERSION = 1
USERS, NEWEST_USERS = "users", "newest"
NEWEST = 20

EVERYONE, COUNTRY, GENDER, AGE, NATIONALITY = "all", "country", "gender", "age", "nationality"
DIMENSIONS = (EVERYONE, COUNTRY, GENDER, AGE, NATIONALITY)
ALL_TIME = "all"
AGE_BAND = 10  # years; the value of dimension `age` is the band's first year, "30" for 30-39

RAW, STATS = "raw", "stats"
GROUPS = {RAW: "vigie-raw", STATS: "vigie-stats"}  # consumer groups whose offsets say how far each lane has read

TABLES = (
    """CREATE TABLE IF NOT EXISTS {keyspace}.stats_by_minute (
        dimension text, day date, minute timestamp, value text, users bigint, age_sum bigint,
        PRIMARY KEY ((dimension, day), minute, value)
    ) WITH CLUSTERING ORDER BY (minute DESC, value ASC) AND default_time_to_live = {minutes_ttl_s}""",
    """CREATE TABLE IF NOT EXISTS {keyspace}.totals (
        period text, dimension text, value text, users bigint, age_sum bigint,
        PRIMARY KEY ((period), dimension, value)
    )""",
    """CREATE TABLE IF NOT EXISTS {keyspace}.lanes (lane text PRIMARY KEY, summed_at timestamp, newest timestamp)""",
    """CREATE TABLE IF NOT EXISTS {keyspace}.schema_version (name text PRIMARY KEY, version int)""",
)
