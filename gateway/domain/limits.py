"""Every bound of the system in one place, for every step; the unit stands last in each name."""

# What a request may be (the face and the verify step).
BODY_BYTES_MAX = 64 * 1024
BATCH_BODY_BYTES_MAX = 512 * 1024
BATCH_PAYMENTS_MAX = 500
HEADERS_COUNT_MAX = 48
TARGET_BYTES_MAX = 4096
HEAD_SECONDS_MAX = 10  # from a head's first byte to its last
IDLE_SECONDS_MAX = 75  # without a request, or without taking the answer
LINGER_SECONDS = 2.0  # after the last answer, for who still sends or still takes it
# Connections of one worker; so many files are left for all else: channels, databases, logs.
CONNECTIONS_MAX = 10_000
FILES_KEPT = 5_000
IDEMPOTENCY_KEY_CHARS_MAX = 255
SIGNATURE_AGE_SECONDS_MAX = 300
NONCE_CHARS_MAX = 64

# What a payment may say.
AMOUNT_MINOR_MAX = 999_999_999_999
REFERENCE_CHARS_MAX = 64
DESCRIPTION_CHARS_MAX = 255
METADATA_PAIRS_MAX = 20
METADATA_KEY_CHARS_MAX = 40
METADATA_VALUE_CHARS_MAX = 500
URL_CHARS_MAX = 2048
PAGE_ITEMS_MAX = 100
PAGE_ITEMS_DEFAULT = 20
# A filter for which there is no index looks at so many rows, about 10 ms of them, for one page.
PAGE_WALK_ITEMS_MAX = 10_000
# An id is minted within this time of what it names: enough for a request that waits in a queue.
MINTED_WITHIN_SECONDS = 120

# How long a payment may stay open when the merchant does not say.
CARD_OPEN_SECONDS = 60
QR_OPEN_SECONDS = 30 * 60
EXPIRY_SECONDS_MAX = 7 * 24 * 3600
AUTHORIZATION_SECONDS = 7 * 24 * 3600

# PostgreSQL: how long a statement is tried, and how long a connection may take to be given back.
DATABASE_READ_SECONDS = 5.0
DATABASE_WRITE_SECONDS = 10.0
DATABASE_RELEASE_SECONDS = 2.0

# The longest that a request which moves something is served, and all items of a batch together:
# whatever hangs, it is then answered that nobody knows yet.
ITEM_SECONDS_MAX = 13
REQUEST_SECONDS_MAX = 14

# Idempotency in Redis (contract section 3): the lease outlives the longest request.
CLAIM_LEASE_SECONDS = 16
ANSWER_KEEP_SECONDS = 24 * 3600
REDIS_BUDGET_SECONDS = 0.05
REDIS_CONNECT_SECONDS = 1.0  # whoever asks meanwhile waits for no more than a budget
REDIS_PAUSE_SECONDS = 0.5
CLAIMS_LEFT_MAX = 10_000  # of claims that Redis may hold in vain so many are given back later

# Batches: what one flush may carry, and what may wait for it.
REDIS_BATCH_ITEMS_MAX = 256
LEDGER_BATCH_ITEMS_MAX = 128  # some 15 ms: nobody waits behind a longer one
QUEUE_ITEMS_MAX = 20_000
# Results that go out in one turn of the loop: each is up to 0.1 ms of work for whoever waited, but
# for a party, which is one.  Where somebody among them goes first turns are kept short, which costs
# a tenth more for each payment.
HANDED_OUT_ITEMS_MAX = 32
HANDED_OUT_BESIDE_FIRST_MAX = 4
# After a flush that so many shared the ledger lets more gather, so long for each of them: what a
# flush costs beside its items, one statement and one commit, is as much as some ten of them.
REST_ITEMS_MIN = 8
PARTY_ITEMS_MIN = 32  # so many that come together need not wait for others
LEDGER_REST_ITEM_SECONDS = 0.0005
LEDGER_REST_SECONDS_MAX = 0.01

# How long PostgreSQL may use a plan that was made for smaller tables.
PLAN_KEEP_SECONDS = 1.0

# What workers hold in memory is read again this often; the contract promises five seconds.
RELOAD_SECONDS = 1.0
# What is only looked at for people is looked at this often; of failing endpoints so many.
WATCH_SECONDS = 15.0
WATCH_ENDPOINTS_MAX = 10_000

# Routing: what is worked out once for many payments, and how old a month's volume may be.
TERMS_KEPT_MAX = 100_000
VOLUME_KEEP_SECONDS = 30
POLICY_BYTES_MAX = 1024 * 1024

# Admission: how much may be in our own hands at once in one worker, found between these bounds, and
# up to where the time that a payment spends there is good; what it waits for a channel is not ours.
SEATS_MIN = 64
SEATS_START = 256
SEATS_MAX = 2048
SEAT_SECONDS_GOOD = 0.075
SEATS_FALL_SHARE_MIN = 0.5  # at once: what is measured there is known early
READS_MAX = 128
# One seat in so many is kept for merchants below their share, among those seen so recently.
SEATS_KEPT_PART = 8
# Who holds less than one in so many of its share of the seats that are taken is served first.
SEATS_FIRST_PART = 4
SHARE_SECONDS = 1.0
BATCH_SEATS_PART = 4
QUOTA_WEIGHT_MAX = 1000
QUOTA_REQUESTS_MAX = 1_000_000
# What a merchant that only tests is granted at first: enough to see how it is served in a rush, and
# a part of what one worker can do, so that a rehearsal takes nobody's sale.
LOAD_TEST_REQUESTS_PER_SECOND = 500
LOAD_TEST_IN_FLIGHT_MAX = 128
# How a limit finds itself: how often it is looked at, on how many times measured, by how much it
# may fall at once, when it counts as used, and how calm is learned.
LIMIT_STEP_SECONDS = 0.1
LIMIT_STEP_SECONDS_MAX = 1.0
LIMIT_SAMPLES_MIN = 16
LOOKS_KEPT_SHARE = 0.6
STALL_SECONDS = 0.3  # when fewer than that were finished, and more wait
LIMIT_FALL_SHARE_MIN = 0.85
LIMIT_USED_SHARE = 0.8
CALM_TOLERANCE = 2
CALM_LEARNED_SHARE = 0.1
# Clients wait no longer than this, or as long as they say; what waited longer is not begun.
PATIENCE_SECONDS = 5.0
RETRY_AFTER_SECONDS_MAX = 2
# The front refuses what was refused without asking the loop, while that gave its word within this.
REFUSAL_STANDS_SECONDS = 1.0
# Gauges that nobody moves by himself are written down this often.
TELLING_SECONDS = 0.5

# Readiness: how long one look may take, and how long what it saw serves everybody.
READINESS_SECONDS = 2.0
READINESS_KEEP_SECONDS = 1.0

# The acquirer: how long one answer may take, and how many calls may be under way.
CHANNEL_ANSWER_SECONDS = 3.0
# A call that was under way has its answer by then, or gets none.
SILENCE_SECONDS = 2 * CHANNEL_ANSWER_SECONDS
CHANNEL_CALLS_MAX = 4096
# Calls to one channel at once, lane by lane; below that new payments stand back while the channel
# answers slower than is good.
LANE_CALLS_MAX = {"create": 1024, "finish": 256, "query": 256, "refund": 256}
LANE_CALLS_MIN = 64
LANE_CALLS_START = 512
LANE_SECONDS_GOOD = 0.1
# A channel is left alone when half of so many calls failed, within this window and the one before.
BREAKER_CALLS_MIN = 20
BREAKER_FAILED_SHARE = 0.5
BREAKER_WINDOW_SECONDS = 5.0
BREAKER_PROBES = 3
BREAKER_PAUSE_SECONDS_MIN = 1.0
BREAKER_PAUSE_SECONDS_MAX = 15.0
BREAKER_DOUBLINGS_MAX = 5
CHANNEL_ANSWER_BYTES_MAX = 64 * 1024
CHANNEL_ANSWER_HEAD_BYTES_MAX = 32 * 1024
# A connection that was idle for longer is about to be closed by the other side.
CHANNEL_IDLE_SECONDS = 15
CHANNEL_WORD_CHARS_MAX = 200
# By how much an acquirer's clock may differ from ours.
CLOCKS_APART_SECONDS_MAX = 60
ACCOUNT_CHARS_MAX = 64
CREDENTIAL_LABEL_CHARS_MAX = 64
CREDENTIAL_BYTES_MAX = 64 * 1024

# Acquirers that change their keys by themselves are asked twice a day, long before a new one signs;
# while they do not answer, every minute.
ACQUIRER_KEYS_SECONDS = 12 * 3600
ACQUIRER_KEYS_RETRY_SECONDS = 60
ACQUIRER_KEYS_LOOK_SECONDS = 1.0

# Recovery of unknown outcomes: after each silence the next query waits this long.
QUERY_WAIT_SECONDS = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
QUERY_JITTER_SHARE = 0.2
# A chain tells nobody what came: while a payer is awaited it is asked at least this often.
CHAIN_NEWS_SECONDS = 15

# Who asks a channel about an attempt has it to itself for the lease, and stops this long before it
# ends.  One asking makes at most so many calls (query, close or capture, query), so many of them
# queries.
ASKING_CALLS_MAX = 3
ASKING_QUERIES_MAX = 2
QUERY_LEASE_SECONDS = 15
QUERY_LEASE_REST_SECONDS = 3
QUERY_CHANNEL_FLIGHTS_MAX = 64
LEFT_NOTICES_ITEMS_MAX = 64
DUE_FURTHER_ITEMS_MAX = 64

# Whoever finds that somebody is asking already waits for that answer, looking ever more seldom.
SYNC_LOOK_SECONDS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1.0)

# The pace of a channel over all workers: askings per second as a share of the queries that it
# allows, and how much may be saved up in quiet times.  Together they stay below what it allows in
# every second, whatever each asking needs.
PACE_SHARE = 0.4
PACE_BURST_SECONDS = 0.25
# Whose clock is further ahead than this is wrong, and is not waited for.
PACE_AHEAD_SECONDS_MAX = 60
QUERIES_PER_SECOND_MIN = 10

# Money may come after we closed a payment, and its only notice be lost.  Looked for soon (a payer
# who was just paying), after an hour (an acquirer that was restarting) and after a day (what came
# with its settlement); a look at a silent channel is repeated until the third day, and what comes
# later is found by its bills.
CHECK_WAIT_SECONDS = (300, 3600, 24 * 3600)
CHECK_GIVE_UP_SECONDS = 3 * 24 * 3600

# What waits for people without money, and a hold that nobody wants, are asked about until no hold
# can live any more, and some days beyond; after each silence for this part of the time until then.
FROZEN_GIVE_UP_SECONDS = AUTHORIZATION_SECONDS + CHECK_GIVE_UP_SECONDS
FROZEN_WAIT_PART = 4

# Notices: acquirers wait about five seconds for an answer; what nobody finished is served later.
NOTICE_KEEP_SECONDS = 3.0
NOTICE_LEFT_SECONDS = 5
# Nobody is turned away: who finds no room waits for it.  A flush carries few, for each of them may
# be as large as a body is, and a peer fills no more than one.
NOTICES_BATCH_ITEMS_MAX = 64
NOTICES_OF_PEER_MAX = 64
# Of what nobody signed a worker answers so many in a second, at which pace retention keeps up with
# deleting it, unless somebody has waited for so long.
STRAYS_PER_SECOND_MAX = 200
STRAY_SECONDS_MAX = 5.0
# A refused notice is told where it names an attempt, but anybody can send one.
NOTICE_NUMBERS_MAX = 3
REFUSED_NOTICES_TOLD_MAX = 20

# The history of a payment: how long an answer waits for its remark, and how many are shown.
REMARK_SECONDS = 1.0
TIMELINE_REMARKS_MAX = 1000

# Webhooks: the waits before each of the twelve tries, then dead letter.
WEBHOOK_TRY_WAIT_SECONDS = (
    *(0, 5, 30, 2 * 60, 5 * 60, 30 * 60),
    *(2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600),
)
WEBHOOK_JITTER_SHARE = 0.2
WEBHOOK_ANSWER_SECONDS = 15.0
WEBHOOK_ANSWER_BYTES_MAX = 16 * 1024
WEBHOOK_LEASE_SECONDS = 60
WEBHOOK_FLIGHTS_MAX = 1024
WEBHOOK_ENDPOINT_FLIGHTS_MAX = 32
WEBHOOK_LOOK_AHEAD_ITEMS_MAX = 1000
WEBHOOK_REFRESH_SECONDS = 1
WEBHOOK_ENDPOINTS_MAX = 16
WEBHOOK_EVENT_TYPES_MAX = 32
WEBHOOK_SECRET_BYTES = 32
WEBHOOK_ROTATION_SECONDS = 24 * 3600
WEBHOOK_REDELIVERY_ITEMS_MAX = 10_000

# After so many failures in a row an endpoint is left alone, the longer the longer it fails.
WEBHOOK_BREAKER_FAILURES = 5
WEBHOOK_PAUSE_SECONDS_MIN = 5
WEBHOOK_PAUSE_SECONDS_MAX = 300
WEBHOOK_RETRY_AFTER_SECONDS_MAX = 3600
WEBHOOK_RETRY_AFTER_CHARS_MAX = 64

# Retention.  A key is promised for a day, and a month covers whoever tries again after an outage; a
# delivery is of use while somebody may ask why it failed; a channel's own notice is evidence until
# the months for disputes are over; what nobody signed only shows who tries; the history is read as
# long as a payment can be disputed, refunded or asked about.  Facts about money stay for ever.
KEY_KEEP_DAYS = 30
DELIVERY_KEEP_DAYS = 30
NOTICE_KEEP_DAYS = 180
REFUSED_NOTICE_KEEP_DAYS = 7
REFUSED_NOTICES_MAX = 10_000
HISTORY_KEEP_DAYS = 400
# Each worker looks at so many rows of each table in a second, and rests at its end.
RETENTION_BATCH_ITEMS_MAX = 1000
RETENTION_PAUSE_SECONDS = 1.0
REFUSED_BATCHES_MAX = 20
RETENTION_REST_SECONDS = 600

# Stopping: SIGTERM finishes what began within this time.
DRAIN_SECONDS = 25

assert DATABASE_WRITE_SECONDS + DATABASE_RELEASE_SECONDS < ITEM_SECONDS_MAX, "a write may fail"
assert ITEM_SECONDS_MAX < REQUEST_SECONDS_MAX, "a batch must outlive its items"
assert REQUEST_SECONDS_MAX + 4 * REDIS_BUDGET_SECONDS < CLAIM_LEASE_SECONDS, (
    "a claim must outlive the request it guards"
)
assert REQUEST_SECONDS_MAX < DRAIN_SECONDS, "what began is finished when a worker stops"
assert REQUEST_SECONDS_MAX < QUERY_LEASE_SECONDS, "a lease must outlive the sync that holds it"
assert CHANNEL_ANSWER_SECONDS * ASKING_CALLS_MAX < QUERY_LEASE_SECONDS - QUERY_LEASE_REST_SECONDS, (
    "a lease must outlive the asking it guards"
)
assert ACQUIRER_KEYS_LOOK_SECONDS < ACQUIRER_KEYS_RETRY_SECONDS < ACQUIRER_KEYS_SECONDS
assert PACE_SHARE * ASKING_QUERIES_MAX * (1 + PACE_BURST_SECONDS) <= 1, "a pace is below the quota"
assert PACE_SHARE * QUERIES_PER_SECOND_MIN * PACE_BURST_SECONDS >= 1, "the slowest pace moves"
assert CHECK_WAIT_SECONDS[-1] < CHECK_GIVE_UP_SECONDS, "the last look may be repeated"
assert SEATS_MIN <= SEATS_START <= SEATS_MAX < QUEUE_ITEMS_MAX, "a seat has its place in a queue"
assert LOAD_TEST_IN_FLIGHT_MAX < SEATS_START, "a rehearsal does not fill the house"
assert LOAD_TEST_REQUESTS_PER_SECOND <= QUOTA_REQUESTS_MAX, "and may be granted by hand, too"
assert SEATS_MAX < CONNECTIONS_MAX, "whoever finds a seat has a connection"
assert CHANNEL_CALLS_MAX < FILES_KEPT, "so has every call to a channel"
assert PATIENCE_SECONDS < REQUEST_SECONDS_MAX, "nobody waits for longer"
assert sum(LANE_CALLS_MAX.values()) <= CHANNEL_CALLS_MAX, "a lane's calls have connections"
assert BREAKER_PAUSE_SECONDS_MIN * 2**BREAKER_DOUBLINGS_MAX >= BREAKER_PAUSE_SECONDS_MAX
assert NOTICE_KEEP_SECONDS < NOTICE_LEFT_SECONDS, "a notice is left only once it was given up"
assert WEBHOOK_ANSWER_SECONDS * 3 < WEBHOOK_LEASE_SECONDS, "a lease must outlive its delivery"
assert KEY_KEEP_DAYS * 24 * 3600 > ANSWER_KEEP_SECONDS, "PostgreSQL remembers what Redis forgot"
assert KEY_KEEP_DAYS * 24 * 3600 > EXPIRY_SECONDS_MAX, "a payment's key outlives its open time"
assert 2 * sum(WEBHOOK_TRY_WAIT_SECONDS) < DELIVERY_KEEP_DAYS * 24 * 3600, "tries end long before"
assert REFUSED_NOTICE_KEEP_DAYS < NOTICE_KEEP_DAYS < HISTORY_KEEP_DAYS, "the raw goes first"
assert NOTICES_OF_PEER_MAX <= NOTICES_BATCH_ITEMS_MAX, "a peer fills no more than one flush"
assert STRAY_SECONDS_MAX < DRAIN_SECONDS, "whoever is held up is answered when a worker stops"
assert STRAYS_PER_SECOND_MAX * 4 < RETENTION_BATCH_ITEMS_MAX / RETENTION_PAUSE_SECONDS, (
    "one worker forgets what four gateways answer"
)
assert DRAIN_SECONDS < MINTED_WITHIN_SECONDS, "whatever waits mints its id before it is cut off"
assert PAGE_ITEMS_MAX < PAGE_WALK_ITEMS_MAX, "a page fits into one walk"
assert CHANNEL_ANSWER_SECONDS < DRAIN_SECONDS, "a drain must let the running call end"
assert DRAIN_SECONDS + LINGER_SECONDS < 30, "and is over within 30 s, last answers taken"
assert RELOAD_SECONDS < 5, "revocation must reach every worker within five seconds"
assert LEDGER_BATCH_ITEMS_MAX <= QUEUE_ITEMS_MAX, "the queue feeds a flush"
assert 2 * LEDGER_REST_SECONDS_MAX < SEAT_SECONDS_GOOD, "two rests are a part of what is good"
assert BATCH_PAYMENTS_MAX * 1024 <= BATCH_BODY_BYTES_MAX, "a full batch leaves a KiB for each"
assert min(CHANNEL_CALLS_MAX, QUEUE_ITEMS_MAX) >= BATCH_PAYMENTS_MAX, "one batch fits everywhere"
