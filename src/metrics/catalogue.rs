//! Every metric: its name, kind, labels and meaning. The table of `docs/metrics.md` and the exporter's descriptions come
//! from here.
//! Must not know how a metric is recorded.

/// What kind of number a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution, in the buckets of [`BUCKETS_SECONDS`].
    Histogram,
}

/// One metric.
#[derive(Debug)]
pub struct Metric {
    /// Its name as Prometheus shows it.
    pub name: &'static str,
    /// Its kind.
    pub kind: MetricKind,
    /// Its labels, separated by commas.
    pub labels: &'static str,
    /// What it tells.
    pub meaning: &'static str,
}

/// Upper bounds of the duration histograms: from a tenth of a millisecond to the longest `ack_timeout_ms`, a minute.
pub const BUCKETS_SECONDS: &[f64] = &[
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 8.0, 10.0,
    30.0, 60.0,
];

macro_rules! catalogue {
    ($($constant:ident = $kind:ident $name:literal [$labels:literal] $meaning:literal;)*) => {
        $(pub(super) const $constant: &str = $name;)*
        /// Every metric, in the order of the table of `docs/metrics.md`.
        pub const METRICS: &[Metric] = &[
            $(Metric { name: $name, kind: MetricKind::$kind, labels: $labels, meaning: $meaning },)*
        ];
    };
}

catalogue! {
    REQUESTS = Counter "paybridge_ingress_requests_total" ["source,outcome"]
        "Webhook requests by outcome, as in the table of answers; source `_unknown` if no source has the path";
    REQUEST_DURATION = Histogram "paybridge_ingress_request_duration_seconds" ["source"]
        "From the end of a request's head to its answer";
    STAGE_DURATION = Histogram "paybridge_ingress_stage_duration_seconds" ["stage"]
        "Time in each stage of a webhook: receive, verify, encode, publish";
    IN_FLIGHT_BYTES = Gauge "paybridge_ingress_in_flight_bytes" [""]
        "Bytes of bodies and records held until their delivery report; beyond ingress.in_flight_bytes_max the answer is 503";
    CONNECTIONS = Gauge "paybridge_ingress_connections" [""]
        "Open connections";
    CONNECTION_EVENTS = Counter "paybridge_ingress_connection_events_total" ["event"]
        "Events of connections: accepted; refused (connections_max are open and each has a request); made_room (the longest idle one was closed for a new client); accept_failed; tls_failed; head_timed_out; idle_timed_out; malformed (not HTTP); handler_panicked (a request was answered 500)";
    VERIFIED = Counter "paybridge_ingress_verified_total" ["source,key_id"]
        "Webhooks that passed authentication, by key";
    UNVERIFIED = Counter "paybridge_ingress_unverified_total" ["source,reason"]
        "Webhooks that failed authentication, by reason";
    UNVERIFIED_RUN = Gauge "paybridge_ingress_unverified_run" ["source"]
        "Webhooks in a row whose signature matches no key; 10 or more on a source that was verified lately means a changed key";
    LAST_VERIFIED = Gauge "paybridge_ingress_last_verified_timestamp_seconds" ["source"]
        "When the last verified webhook came, in seconds since 1970; 0 if none came since the start";
    PUBLISHED = Counter "paybridge_kafka_records_published_total" ["topic"]
        "Records that Kafka acknowledged";
    PUBLISH_FAILURES = Counter "paybridge_kafka_publish_failures_total" ["topic,reason"]
        "Records that Kafka did not acknowledge, by reason";
    BROKERS_UP = Gauge "paybridge_kafka_brokers_up" [""]
        "Brokers that the producer is connected to";
    TOPICS_MISSING = Gauge "paybridge_kafka_topics_missing" [""]
        "Topics that the configuration needs and Kafka did not have at the last check; their webhooks are answered 503";
    PRODUCER_RESTARTS = Counter "paybridge_kafka_producer_restarts_total" ["reason"]
        "How often the producer was replaced: fatal_error; wrong_brokers (it sent records to brokers that do not lead their partitions); brokers_forgotten (it knew no broker any more)";
    SPOOL_ENGAGED = Gauge "paybridge_spool_engaged" [""]
        "1 while records go to disk, because Kafka does not take them or has not taken all that is on disk";
    SPOOL_ENGAGEMENTS = Counter "paybridge_spool_engagements_total" [""]
        "How often records began to go to disk";
    SPOOL_FILES = Gauge "paybridge_spool_files" [""]
        "Files on disk that Kafka has not taken";
    SPOOL_BYTES = Gauge "paybridge_spool_bytes" [""]
        "Their bytes";
    SPOOL_RECORDS = Gauge "paybridge_spool_records" [""]
        "Their records";
    SPOOL_OLDEST = Gauge "paybridge_spool_oldest_age_seconds" [""]
        "Age of the oldest of these files; 0 if there is none";
    SPOOL_BYTES_MAX = Gauge "paybridge_spool_bytes_max" [""]
        "spool.bytes_max";
    SPOOL_FILES_MAX = Gauge "paybridge_spool_files_max" [""]
        "spool.files_max";
    SPOOL_WRITTEN = Counter "paybridge_spool_records_written_total" [""]
        "Records written to disk; their webhooks were answered 200";
    SPOOL_DRAINED = Counter "paybridge_spool_records_drained_total" [""]
        "Records from disk that Kafka acknowledged";
    SPOOL_REFUSED = Counter "paybridge_spool_records_refused_total" ["reason"]
        "Records that were not written to disk, so that their webhooks were answered 503: full (spool.bytes_max or spool.files_max), disk (a write or a sync failed)";
    SPOOL_DEAD = Counter "paybridge_spool_records_dead_total" [""]
        "Records from disk that are larger than their topic takes; they are in the folder `dead`";
    SPOOL_DAMAGED = Counter "paybridge_spool_records_damaged_total" [""]
        "Records that were damaged on disk; their files are in the folder `dead`";
    SPOOL_UNREADABLE = Counter "paybridge_spool_file_read_failures_total" [""]
        "Reads of files that failed; such a file is tried again";
    SPOOL_DEAD_FILES = Gauge "paybridge_spool_dead_files" [""]
        "Files in the folder `dead`";
    SPOOL_WRITE_DURATION = Histogram "paybridge_spool_write_duration_seconds" [""]
        "From the first step of writing a file to its sync; a small file at the start is the first";
    DEDUP_HITS = Counter "paybridge_dedup_hits_total" ["source,origin"]
        "Redeliveries that were answered and not published again; origin `local`: this process took the event in; `shared`: another replica did, or this one before its restart";
    DEDUP_ENTRIES = Gauge "paybridge_dedup_entries" [""]
        "Events in the dedup window";
    DEDUP_WINDOW = Gauge "paybridge_dedup_window_seconds" [""]
        "The time that the dedup window covers: dedup.window_s, or less if dedup.entries_max is reached";
    DEDUP_FOLLOWING = Gauge "paybridge_dedup_following" [""]
        "1 while the shared dedup topic is read; 0: it cannot be read, or dedup.mode is not \"shared\", and redeliveries to other replicas are published again";
    DEDUP_LAG = Gauge "paybridge_dedup_lag_records" [""]
        "Entries of the shared dedup topic that this replica has not read yet";
    DEDUP_WRITTEN = Counter "paybridge_dedup_entries_total" ["result"]
        "Entries for the shared dedup topic: written; failed: Kafka did not take it, so other replicas may publish the event again";
    DEDUP_IGNORED = Counter "paybridge_dedup_entries_ignored_total" ["reason"]
        "Entries of the shared dedup topic that count for nothing: other_cluster: it was copied from another Kafka cluster; unreadable";
    REJECTED = Counter "paybridge_rejected_total" ["source,reason"]
        "Samples of webhooks that failed authentication, published on the topic `rejected`, by reason";
    QUARANTINED = Counter "paybridge_quarantined_total" ["source,reason"]
        "Webhooks published on the topic `quarantine`, by reason";
    UNRECOGNIZED = Counter "paybridge_unrecognized_total" ["source"]
        "Authentic webhooks of a type that this version does not know";
    RELEASE_RECORDS = Counter "paybridge_release_records_total" ["verdict"]
        "Records of quarantine, unrecognized and rejected that this process judged because of a request for a release, by verdict; what a command releases is not counted";
    RELEASE_REQUESTS = Counter "paybridge_release_requests_total" ["result"]
        "Requests for releases: done; refused (the request cannot be carried out, and says why); failed (a try that did not come to its end; it is repeated)";
    UNREAD_FIELDS = Counter "paybridge_unread_fields_total" ["source"]
        "Fields of published events that are in the body and could not be read; `metadata.unread_fields` names them";
    KEY_RELOADS = Counter "paybridge_key_reloads_total" ["source,result"]
        "Changed key files: used, or unusable, so that the old keys stay in use; source `_tls`: the certificate; source `_kafka`: Kafka's credentials, where each try counts";
    CALLS = Counter "paybridge_confirmation_calls_total" ["operation,outcome"]
        "Calls of the provider's session API by result; `not_sent`: held back by the breaker, or no api is configured";
    CALL_DURATION = Histogram "paybridge_confirmation_call_duration_seconds" ["operation"]
        "From the start of a call, including the connection, to the last byte of its answer, or to its timeout";
    CALLS_IN_FLIGHT = Gauge "paybridge_confirmation_calls_in_flight" [""]
        "Calls of the provider's session API that have no answer yet; at confirmation.calls_in_flight_max other calls wait";
    BREAKER_OPEN = Gauge "paybridge_confirmation_breaker_open" ["source"]
        "1 while calls of a source are held back, after calls about five sessions failed without a good answer in between: the provider is away, our key or project is wrong, or the sessions belong to another project";
    CONFIRMATION_OPEN = Gauge "paybridge_confirmation_open_sessions" [""]
        "Sessions on this process's partitions that were opened and have not ended";
    CONFIRMATION_OLDEST_REMAINING = Gauge "paybridge_confirmation_oldest_remaining_seconds" [""]
        "Seconds until the first window of an open session closes; negative after it has closed; +Inf while no session is open";
    CONFIRMATION_NEXT_DEADLINE = Gauge "paybridge_confirmation_next_deadline_seconds" [""]
        "Seconds until confirmation.at_deadline is carried out on the first session that nobody has decided on; +Inf if there is no such session, or if at_deadline is `nothing`";
    CONFIRMATION_DECISIONS = Counter "paybridge_confirmation_decisions_total" ["kind,rule"]
        "Sessions that were decided, by kind: rule, decision, default, deadline; the label `rule` is empty for the other kinds";
    CONFIRMATION_OUTCOMES = Counter "paybridge_confirmation_outcomes_total" ["action,result"]
        "Outcomes that were published, by action (none: the session ended before it was decided) and result";
    CONFIRMATION_LAG = Gauge "paybridge_confirmation_lag_records" [""]
        "Records on the inputs of this process's partitions that it has not processed yet";
    CONFIRMATION_HELD = Counter "paybridge_confirmation_held_total" ["reason"]
        "Sessions that no rule decided on when they opened, by reason: a rule holds them, no rule matched, an amount is unknown or not above zero, a rule failed, or a rule reads a field that could not be read";
    CONFIRMATION_RULE_FAILURES = Counter "paybridge_confirmation_rule_failures_total" ["rule"]
        "Rules that failed when they were evaluated, so that the session was held";
    CONFIRMATION_REJECTED = Counter "paybridge_confirmation_rejected_total" ["reason"]
        "Decisions that did not count, by reason";
    CONFIRMATION_REDELIVERED = Counter "paybridge_confirmation_redelivered_total" [""]
        "Events and decisions that had been processed before, and changed nothing";
    CONFIRMATION_PASSED_ON = Counter "paybridge_confirmation_passed_on_total" [""]
        "Decisions that were forwarded to the partition of their session: their writer does not partition by murmur2 of the session id";
    CONFIRMATION_QUARANTINED = Counter "paybridge_confirmation_quarantined_total" ["reason"]
        "Records of the engine's inputs published on the topic `quarantine`, by reason";
    CONFIRMATION_TRANSACTIONS = Counter "paybridge_confirmation_transactions_total" ["result"]
        "Kafka transactions by result; unknown: Kafka did not say, and the ledger is read again";
    CONFIRMATION_REBUILDS = Counter "paybridge_confirmation_rebuilds_total" [""]
        "How often the engine's producer was closed and started again";
    CONFIRMATION_ASSIGNED = Gauge "paybridge_confirmation_assigned_partitions" [""]
        "Partitions that this process decides for";
    CONFIRMATION_STOPPED = Gauge "paybridge_confirmation_stopped_partitions" ["reason"]
        "Partitions on which the engine decides nothing; unreadable: their ledger has an entry that this version does not know; lost: their ledger is gone";
    CONFIRMATION_REFUSED = Gauge "paybridge_confirmation_engine_refused" [""]
        "1 while this process's engine refuses to work and decides nothing: partition counts are unequal or changed, or the ledger belongs to another group or to the other mode (dry run); the log says what to do";
    CONFIRMATION_RESTORING_SINCE = Gauge "paybridge_confirmation_restoring_since_timestamp_seconds" [""]
        "When the engine began to read the ledger, in seconds since 1970; 0 while it reads none";
    CONFIRMATION_ALERTS = Counter "paybridge_confirmation_alerts_total" ["kind"]
        "Conditions that somebody must look at, by kind: clock_untrusted; unknown_source; open_after_done (the provider still waits for a session that has ended here); too_old (an event so old that its session may have ended and been forgotten; it opened nothing); session_of_another_source (an event of a session that another source has opened meanwhile; it opened nothing); record_refused (a session was written without its operations, because Kafka refused them)";
    CERTIFICATE_EXPIRY = Gauge "paybridge_ingress_certificate_expiry_timestamp_seconds" [""]
        "When the first certificate of the webhook listener's TLS chain expires, in seconds since 1970; 0 without ingress.tls";
    CLOCK_TRUSTED = Gauge "paybridge_clock_trusted" ["part"]
        "1 while the clock of this process is trusted; 0 while it is more than 60 s from the brokers' clocks (ingress, engine), more than 60 s from the provider's, or was set (engine)";
    CLOCK_OFFSET = Gauge "paybridge_clock_offset_seconds" ["part"]
        "How far the clock of this process is ahead of the brokers' clocks, in seconds; negative: behind; 0 until a broker has told its time";
    READY = Gauge "paybridge_ready" [""]
        "1 while /readyz answers 200";
    BUILD_INFO = Gauge "paybridge_build_info" ["version"]
        "Always 1; the label has the version";
    PROCESS_CPU = Counter "process_cpu_seconds_total" [""]
        "Processor time that the process has used, user and system, in whole seconds";
    PROCESS_MEMORY = Gauge "process_resident_memory_bytes" [""]
        "Memory of the process that is in RAM";
    PROCESS_VIRTUAL_MEMORY = Gauge "process_virtual_memory_bytes" [""]
        "Address space of the process";
    PROCESS_FDS = Gauge "process_open_fds" [""]
        "Open file descriptors, connections among them";
    PROCESS_FDS_MAX = Gauge "process_max_fds" [""]
        "The most file descriptors that the process may open";
    PROCESS_THREADS = Gauge "process_threads" [""]
        "Threads of the process";
    PROCESS_START = Gauge "process_start_time_seconds" [""]
        "When the process started, in seconds since 1970";
}
