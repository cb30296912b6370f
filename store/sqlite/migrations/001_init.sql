-- The tables of hookpost. Every time is in microseconds since 1970, UTC; NULL means none.

CREATE TABLE hookpost_schema (
  version INTEGER PRIMARY KEY           -- numbers of the files that have run
);

-- One row: what tells this database from others with the same tables. A copy has the same.
CREATE TABLE hookpost_store (
  id INTEGER NOT NULL
);
INSERT INTO hookpost_store (id) VALUES (random());

-- One row per tenant and mode: a short name for it, and the version of its endpoint set.
CREATE TABLE hookpost_scope (
  num     INTEGER PRIMARY KEY,
  tenant  TEXT NOT NULL,
  mode    INTEGER NOT NULL,             -- 1 live, 2 test
  version INTEGER NOT NULL DEFAULT 0,   -- grows with every change of any of its endpoints
  UNIQUE (tenant, mode)
);

CREATE TABLE hookpost_endpoint (
  num        INTEGER PRIMARY KEY AUTOINCREMENT,
  scope      INTEGER NOT NULL,
  id         TEXT NOT NULL,
  url_key    TEXT NOT NULL,
  state      INTEGER NOT NULL,          -- as in hookpost_lane
  config     TEXT NOT NULL,             -- JSON
  secrets    TEXT NOT NULL,             -- JSON, sealed
  created_at INTEGER NOT NULL,
  changed_at INTEGER NOT NULL,
  UNIQUE (scope, id)
);
CREATE UNIQUE INDEX hookpost_endpoint_url ON hookpost_endpoint (scope, url_key) WHERE state <> 3;
CREATE INDEX hookpost_endpoint_list ON hookpost_endpoint (scope);
CREATE INDEX hookpost_endpoint_state ON hookpost_endpoint (scope, state);

-- What claims ask about an endpoint, kept apart because these rows are narrow and change often.
CREATE TABLE hookpost_lane (
  endpoint      INTEGER PRIMARY KEY,
  scope         INTEGER NOT NULL,
  state         INTEGER NOT NULL,       -- 1 enabled, 2 disabled, 3 deleted
  version       INTEGER NOT NULL,
  enabled_at    INTEGER,
  hold_until    INTEGER,
  failing_since INTEGER,
  last_failure  INTEGER,
  failures      INTEGER NOT NULL DEFAULT 0,
  last_success  INTEGER
);
CREATE INDEX hookpost_lane_failing ON hookpost_lane (failing_since) WHERE failing_since IS NOT NULL;
CREATE INDEX hookpost_lane_success ON hookpost_lane (last_success) WHERE last_success IS NOT NULL;
CREATE INDEX hookpost_lane_enabled ON hookpost_lane (endpoint) WHERE enabled_at IS NOT NULL OR state = 2;

-- Deleted endpoints whose pending deliveries are still to be marked as cancelled.
CREATE TABLE hookpost_deleted (
  endpoint INTEGER PRIMARY KEY,
  after    INTEGER NOT NULL DEFAULT 0   -- events up to this one are done
);

CREATE TABLE hookpost_change (
  endpoint    INTEGER NOT NULL,
  version     INTEGER NOT NULL,
  set_version INTEGER NOT NULL,
  at          INTEGER NOT NULL,
  action      TEXT NOT NULL,
  actor       TEXT NOT NULL,
  op          TEXT NOT NULL,            -- by which a repeated call is known
  old         TEXT,                     -- JSON
  new         TEXT NOT NULL,            -- JSON
  PRIMARY KEY (endpoint, version)
) WITHOUT ROWID;

-- Of two events the one with the greater num has the same stored_at or a later one, so that a time
-- is found by halving num and needs no index.
CREATE TABLE hookpost_event (
  num          INTEGER PRIMARY KEY AUTOINCREMENT,
  scope        INTEGER NOT NULL,
  id           TEXT NOT NULL,
  type         TEXT NOT NULL,
  created_at   INTEGER NOT NULL,
  stored_at    INTEGER NOT NULL,
  set_version  INTEGER NOT NULL,
  erased_at    INTEGER,
  content_type TEXT NOT NULL,
  hash         BLOB NOT NULL,
  refs         TEXT,                    -- JSON
  trace        TEXT,                    -- W3C trace context: traceparent, a space, tracestate
  body         BLOB                     -- last: reading the rest never touches it
);
CREATE UNIQUE INDEX hookpost_event_id ON hookpost_event (scope, id);
CREATE INDEX hookpost_event_scope ON hookpost_event (scope);

CREATE TABLE hookpost_ref (
  scope INTEGER NOT NULL,
  ref   TEXT NOT NULL,
  event INTEGER NOT NULL,
  PRIMARY KEY (scope, ref, event)
) WITHOUT ROWID;

-- Decided lists of endpoints too long to become deliveries with their event.
CREATE TABLE hookpost_fanout (
  event     INTEGER NOT NULL,
  part      INTEGER NOT NULL,
  due_at    INTEGER NOT NULL,           -- of the deliveries
  endpoints BLOB NOT NULL,              -- numbers, 8 bytes each, big-endian
  PRIMARY KEY (event, part)
) WITHOUT ROWID;

CREATE TABLE hookpost_delivery (
  event       INTEGER NOT NULL,
  endpoint    INTEGER NOT NULL,
  round       INTEGER NOT NULL,
  state       INTEGER NOT NULL,         -- 0 scheduled, 1 ready, 2 leased, 3 delivered, 4 exhausted, 5 cancelled
  token       INTEGER NOT NULL DEFAULT 0,
  attempts    INTEGER NOT NULL DEFAULT 0,
  failures    INTEGER NOT NULL DEFAULT 0,
  unknown     INTEGER NOT NULL DEFAULT 0,
  owner       INTEGER,
  leased_at   INTEGER,
  lease_until INTEGER,
  due_at      INTEGER NOT NULL,
  created_at  INTEGER NOT NULL,
  first_at    INTEGER,
  last_status INTEGER NOT NULL DEFAULT 0,
  finished_at INTEGER,
  reason      TEXT NOT NULL DEFAULT '',
  -- The attempt that delivered it, where there was nothing more to say of it: then its number is
  -- attempts, its status last_status, and it has no row in hookpost_attempt.
  success_at   INTEGER,
  success_took INTEGER,
  success_url  TEXT,
  PRIMARY KEY (event, endpoint, round)
) WITHOUT ROWID;
CREATE INDEX hookpost_delivery_log ON hookpost_delivery (endpoint, event);
CREATE INDEX hookpost_delivery_scheduled ON hookpost_delivery (due_at) WHERE state = 0;
CREATE INDEX hookpost_delivery_ready ON hookpost_delivery (endpoint, due_at) WHERE state = 1;
CREATE INDEX hookpost_delivery_leased ON hookpost_delivery (lease_until) WHERE state = 2;
CREATE INDEX hookpost_delivery_exhausted ON hookpost_delivery (event) WHERE state = 4;
-- For counts only.
CREATE INDEX hookpost_delivery_later ON hookpost_delivery (endpoint, due_at) WHERE state = 0;
CREATE INDEX hookpost_delivery_lost ON hookpost_delivery (endpoint) WHERE state = 4;

-- Of plain successes the delivery tells.
CREATE TABLE hookpost_attempt (
  event           INTEGER NOT NULL,
  endpoint        INTEGER NOT NULL,
  round           INTEGER NOT NULL,
  n               INTEGER NOT NULL,
  outcome         INTEGER NOT NULL,     -- 1 delivered, 2 failed, 3 unknown
  started_at      INTEGER NOT NULL,
  took            INTEGER NOT NULL,     -- microseconds
  status          INTEGER NOT NULL,
  url             TEXT NOT NULL,
  class           TEXT NOT NULL,
  error           TEXT NOT NULL,
  response_header BLOB,
  response_body   BLOB,
  PRIMARY KEY (event, endpoint, round, n)
) WITHOUT ROWID;
CREATE INDEX hookpost_attempt_answer ON hookpost_attempt (started_at) WHERE response_header IS NOT NULL OR response_body IS NOT NULL;

INSERT INTO hookpost_schema (version) VALUES (1);
