"""Every metric of the gateway, in Prometheus's base units. No label is a SKU or a buyer."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

REGISTRY = CollectorRegistry(auto_describe=True)

_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

BATCH_SIZE = Histogram(
    "stockgate_batch_size",
    "Requests sent to Redis in one script call.",
    ["command"],
    buckets=_SIZES,
    registry=REGISTRY,
)
BATCH_WAIT = Histogram(
    "stockgate_batch_wait_seconds",
    "How long the oldest request of a batch waited before it was sent.",
    ["command"],
    buckets=_SECONDS,
    registry=REGISTRY,
)
BATCH_CALL = Histogram(
    "stockgate_batch_call_seconds",
    "How long one script call took, as the gateway saw it.",
    ["command"],
    buckets=_SECONDS,
    registry=REGISTRY,
)
BATCH_QUEUE = Gauge(
    "stockgate_batch_queue_length",
    "Requests waiting for the next batch.",
    ["command"],
    registry=REGISTRY,
)
SHED = Counter(
    "stockgate_shed_total",
    "Requests refused before they were sent: queue full, or waited past their deadline.",
    ["command", "reason"],
    registry=REGISTRY,
)
REQUESTS = Counter(
    "stockgate_http_responses_total",
    "HTTP answers by operation and status.",
    ["operation", "status"],
    registry=REGISTRY,
)
OUTCOMES = Counter(
    "stockgate_outcomes_total",
    "What commands answered, by command and reply code.",
    ["command", "code"],
    registry=REGISTRY,
)
INVARIANT_BREACHES = Counter(
    "stockgate_invariant_breaches_total",
    "Changes refused because a SKU's counters did not add up. Alarm on any.",
    registry=REGISTRY,
)
SETTLED = Counter(
    "stockgate_settled_total",
    "Deductions mirrored back from the ledger, by outcome.",
    ["outcome"],
    registry=REGISTRY,
)
SETTLE_SECONDS = Histogram(
    "stockgate_settle_batch_seconds",
    "From reading a batch off the outbox to its acknowledgement.",
    buckets=_SECONDS,
    registry=REGISTRY,
)
SETTLER_FAILURES = Counter(
    "stockgate_settler_failures_total",
    "Settler rounds that failed and will be retried.",
    registry=REGISTRY,
)
OUTBOX_LENGTH = Gauge(
    "stockgate_outbox_entries",
    "Confirmed reservations on their way to the ledger.",
    ["shard"],
    registry=REGISTRY,
)
SETTLE_LAG_SECONDS = Gauge(
    "stockgate_settle_lag_seconds",
    "How long the oldest of them has been waiting; 0 when none is.",
    ["shard"],
    registry=REGISTRY,
)
SETTLER_RETRIES = Counter(
    "stockgate_settler_retries_total",
    "Failed tries of single outbox entries, by reason.",
    ["reason"],
    registry=REGISTRY,
)
DEAD_LETTERS = Counter(
    "stockgate_dead_letters_total",
    "Outbox entries given up, by reason. Alarm on any.",
    ["reason"],
    registry=REGISTRY,
)
DEAD_LETTERS_OPEN = Gauge(
    "stockgate_dead_letters_open",
    "Dead letters that wait for a decision or are being retried, by reason.",
    ["reason"],
    registry=REGISTRY,
)
REAPED = Counter("stockgate_reaped_total", "Holds expired by the reaper.", registry=REGISTRY)
REAPER_FAILURES = Counter(
    "stockgate_reaper_failures_total",
    "Reaper rounds that failed and will be retried.",
    registry=REGISTRY,
)
NOTIFY_TOLD = Counter(
    "stockgate_notify_told_total",
    "Events that operations were to be told, by kind.",
    ["kind"],
    registry=REGISTRY,
)
NOTIFY_FOLDED = Counter(
    "stockgate_notify_folded_total",
    "Events counted into a message with others instead of being sent alone, by kind.",
    ["kind"],
    registry=REGISTRY,
)
NOTIFY_DELIVERED = Counter(
    "stockgate_notify_delivered_total",
    "Messages that a target took.",
    ["target"],
    registry=REGISTRY,
)
NOTIFY_FAILED = Counter(
    "stockgate_notify_failed_total",
    "Attempts to deliver that failed.",
    ["target"],
    registry=REGISTRY,
)
NOTIFY_DROPPED = Counter(
    "stockgate_notify_dropped_total",
    "Messages given up and kept as dead letters. Alarm on any.",
    ["target"],
    registry=REGISTRY,
)
NOTIFY_QUEUE = Gauge(
    "stockgate_notify_queue_length",
    "Messages waiting for a target.",
    ["target"],
    registry=REGISTRY,
)
STORES_LOST = Counter(
    "stockgate_stores_lost_total",
    "Times that Redis was found to have lost data. Alarm on any.",
    registry=REGISTRY,
)
LEASES_HELD = Gauge(
    "stockgate_leases_held", "Leases this process holds.", ["lease"], registry=REGISTRY
)
LEASE_WAIT = Histogram(
    "stockgate_lease_wait_seconds",
    "From asking for a lease to holding it.",
    ["lease"],
    buckets=_SECONDS,
    registry=REGISTRY,
)
LEASE_HOLD = Histogram(
    "stockgate_lease_hold_seconds",
    "How long leases were held.",
    ["lease"],
    buckets=(*_SECONDS, 10.0, 30.0, 60.0, 300.0),
    registry=REGISTRY,
)
LEASES_REFUSED = Counter(
    "stockgate_leases_refused_total",
    "Leases asked for in vain: another held them (busy), or nobody could be asked (unavailable).",
    ["lease", "reason"],
    registry=REGISTRY,
)
LEASES_LOST = Counter(
    "stockgate_leases_lost_total",
    "Leases that ended before the work under them did.",
    ["lease"],
    registry=REGISTRY,
)

AUDITED_AT = Gauge(
    "stockgate_audit_last_timestamp_seconds",
    "When the last full audit ended, seconds since the epoch. Alarm when it is old.",
    registry=REGISTRY,
)
AUDIT_FINDINGS = Counter(
    "stockgate_audit_findings_total",
    "What did not add up when it was looked at twice, by term. Alarm on any.",
    ["term"],
    registry=REGISTRY,
)
AUDIT_REPAIRS = Counter(
    "stockgate_audit_repairs_total",
    "Repairs by how they ended: repaired, or refused because something had changed.",
    ["outcome"],
    registry=REGISTRY,
)
COMPARATOR_LAG_SECONDS = Gauge(
    "stockgate_comparator_lag_seconds",
    "How long the last comparison of Redis with the ledger took, from its first read on.",
    registry=REGISTRY,
)
AUDIT_UNCOMPARED = Gauge(
    "stockgate_audit_uncompared_skus",
    "SKUs that the last comparison could not compare exactly, because they kept changing.",
    registry=REGISTRY,
)


def exposition() -> bytes:
    """All metrics in Prometheus's text format."""
    return generate_latest(REGISTRY)
