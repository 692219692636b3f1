"""
What the lanes promise to every reader of the stores: collections, tables, keys, dimensions, windows.

MongoDB, database `vigie`
    users     one document a user, `_id` = login.uuid; `fetched_at`, `appended_at`, `stored_at` (UTC) say when it was
              fetched, appended to users.raw, and inserted; the rest is services.contract.UserEvent
              `trace_id` is the trace of the page it came with (empty where none was made)
              One who was forgotten is {forgotten_at, appended_at, topic}: the store then refuses the user's insert, so
              that a message that is read again brings nobody back. `topic` is null if there was nothing to forget yet
    forgotten one document an erasure, `_id` = the user's: {at, by, ahead}; `ahead`: forgotten before being stored
    newest    one document a partition of users.raw, `_id` = its number: `users`, the last NEWEST it brought, newest
              last, each {user_id, first, last, country, gender, age, fetched_at, stored_at}; a page reads them all
    canaries  one document, `_id` = "newest": the newest canary, {user_id, fetched_at, appended_at, stored_at, trace_id}
    ledger    one document, `_id` = "raw": {body}: a Ledger as JSON, as of the last batch that is stored

Cassandra, keyspace `vigie`: every row is the full value of its key, never an increment
    stats_by_minute   (dimension, day) -> minute, value: users, age_sum; minutes of the broker's append time
    totals            (period) -> dimension, value: users, age_sum; period is `all` or a day, `2026-11-24`: one read is
                      a page's whole picture
                      The dimension CROSS counts users alike in all the others (`Spain|female|30|ES`): any two of them
                      against each other, under any filter, are sums of its rows
    lanes             (lane) -> summed_at, newest: when the stats lane last wrote, and the newest `fetched_at` in it
    canaries          (id = "newest") -> user_id, fetched_at, summed_at
    ledger            (lane) -> body: a Ledger as JSON, as of the last batch that is summed
    schema_version    (name) -> version

The state folder
    run/points/<name> a point of KILL_POINTS is armed: the driver dies there, once, of what the file says (DEATHS)
"""

import msgspec

DATABASE = KEYSPACE = "vigie"
SCHEMA_VERSION = 1
USERS, NEWEST_USERS, CANARIES, LEDGER, FORGOTTEN = "users", "newest", "canaries", "ledger", "forgotten"
NEWEST_ID = "newest"
NEWEST = 20

EVERYONE, COUNTRY, GENDER, AGE, NATIONALITY = "all", "country", "gender", "age", "nationality"
BETWEEN = "|"  # the values of a CROSS; only a country's name may hold one, so they are parted from the right
CROSSED = (COUNTRY, GENDER, AGE, NATIONALITY)
CROSS = BETWEEN.join(CROSSED)
DIMENSIONS = (EVERYONE, *CROSSED, CROSS)
ALL_TIME = "all"
AGE_BAND = 10  # years; the value of dimension `age` is the band's first year, "30" for 30-39

RAW, STATS = "raw", "stats"
GROUPS = {RAW: "vigie-raw", STATS: "vigie-stats"}  # consumer groups whose offsets say how far each lane has read

KEYSPACE_CQL = (
    "CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication = "
    "{{'class': 'NetworkTopologyStrategy', 'replication_factor': {replication}}}"
)
FORGOTTEN_AT = "forgotten_at"  # a document that has it has nothing else of the user but the id, its place and minute

POINTS_FOLDER = "run/points"  # below the state folder
BEFORE_USERS, BEFORE_RAW_LEDGER, BEFORE_RAW_COMMIT = "raw-before-users", "raw-before-ledger", "raw-before-commit"
BEFORE_MINUTES, BEFORE_TOTALS = "stats-before-minutes", "stats-before-totals"
BEFORE_STATS_LEDGER, BEFORE_STATS_COMMIT = "stats-before-ledger", "stats-before-commit"
KILL_POINTS = (  # of a batch, each lane's in the order of its writes; the commit is Spark's, of the offsets
    BEFORE_USERS,
    BEFORE_RAW_LEDGER,
    BEFORE_RAW_COMMIT,
    BEFORE_MINUTES,
    BEFORE_TOTALS,
    BEFORE_STATS_LEDGER,
    BEFORE_STATS_COMMIT,
)
KILLED, OUT_OF_MEMORY = "killed", "out-of-memory"
DEATHS = (KILLED, OUT_OF_MEMORY)

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
    """CREATE TABLE IF NOT EXISTS {keyspace}.canaries (
        id text PRIMARY KEY, user_id text, fetched_at timestamp, summed_at timestamp
    )""",
    """CREATE TABLE IF NOT EXISTS {keyspace}.ledger (lane text PRIMARY KEY, body text)""",
    """CREATE TABLE IF NOT EXISTS {keyspace}.schema_version (name text PRIMARY KEY, version int)""",
)


class Counted(msgspec.Struct, frozen=True):
    """
    Messages by what they were.

    `ours` have ingestion's header; the others came from somebody else. Of the raw lane `users` are those whose document
    has this very message's place, and `duplicates` those whose user was there from another place. The stats lane cannot
    tell them apart by message: there both are 0, and its users are Cassandra's total.
    """

    read: int = 0
    users: int = 0
    duplicates: int = 0
    poison: int = 0
    canaries: int = 0
    ours: int = 0

    def plus(self, other: "Counted") -> "Counted":
        return Counted(*(one + two for one, two in zip(_values(self), _values(other), strict=True)))


def _values(counted: Counted) -> tuple[int, ...]:
    return msgspec.structs.astuple(counted)


class Ledger(msgspec.Struct, frozen=True):
    """The counts of every message from `starts` up to, not including, `ends` (partition -> offset)."""

    batch: int
    starts: dict[int, int]
    ends: dict[int, int]
    before: Counted  # as `totals` was before this batch
    totals: Counted
    ends_before: dict[int, int]
    furthest: dict[int, int] = {}  # the highest `ends` there ever were, by earlier readings of the topic too
