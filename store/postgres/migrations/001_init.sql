-- What hookpost keeps. NULL in a time means none.
-- They are in the schema hookpost, or another that takes its place in every name below.

CREATE TABLE hookpost.migration (
  version integer PRIMARY KEY,          -- numbers of the files that have run
  ran_at  timestamptz NOT NULL DEFAULT now()
);

-- One row: what tells this database from others with the same tables. A copy has the same.
CREATE TABLE hookpost.store (
  id bigint NOT NULL
);
INSERT INTO hookpost.store (id) VALUES (hashtextextended(gen_random_uuid()::text, 0));

-- One row per tenant and mode that ever had an endpoint. Every change of one of its endpoints raises
-- the version in the same transaction, which is what shows that a cache is stale.
CREATE TABLE hookpost.endpoint_set (
  tenant  text COLLATE "C" NOT NULL,
  mode    smallint NOT NULL,            -- 1 live, 2 test
  version bigint NOT NULL,
  PRIMARY KEY (tenant, mode)
) WITH (fillfactor = 50);

CREATE TABLE hookpost.endpoint (
  num        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant     text COLLATE "C" NOT NULL,
  mode       smallint NOT NULL,
  id         text COLLATE "C" NOT NULL,
  url_key    text COLLATE "C" NOT NULL,
  state      smallint NOT NULL,         -- as in lane
  config     json NOT NULL,
  secrets    json NOT NULL,             -- sealed
  created_at timestamptz NOT NULL,
  changed_at timestamptz NOT NULL,
  UNIQUE (tenant, mode, id)
);
CREATE UNIQUE INDEX endpoint_url ON hookpost.endpoint (tenant, mode, url_key) WHERE state <> 3;
CREATE INDEX endpoint_list ON hookpost.endpoint (tenant, mode, num);

-- What claims ask about an endpoint, kept apart because these rows are narrow and change often.
-- Storing an event never touches them.
CREATE TABLE hookpost.lane (
  endpoint      bigint PRIMARY KEY,
  version       bigint NOT NULL,
  state         smallint NOT NULL,      -- 1 enabled, 2 disabled, 3 deleted
  failures      integer NOT NULL DEFAULT 0,
  enabled_at    timestamptz,
  hold_until    timestamptz,
  failing_since timestamptz,
  last_failure  timestamptz,
  last_success  timestamptz
) WITH (fillfactor = 50);
CREATE INDEX lane_failing ON hookpost.lane (failing_since) WHERE failing_since IS NOT NULL;
CREATE INDEX lane_enabled ON hookpost.lane (endpoint) WHERE enabled_at IS NOT NULL OR state = 2;

-- Deleted endpoints whose pending deliveries are still to be marked as cancelled.
CREATE TABLE hookpost.deleted (
  endpoint bigint PRIMARY KEY,
  after    bigint NOT NULL DEFAULT 0    -- events before this one are done
);

CREATE TABLE hookpost.change (
  endpoint    bigint NOT NULL,
  version     bigint NOT NULL,
  set_version bigint NOT NULL,
  at          timestamptz NOT NULL,
  action      text NOT NULL,
  actor       text NOT NULL,
  op          text NOT NULL,            -- by which a repeated call is known
  old         json,
  new         json NOT NULL,
  PRIMARY KEY (endpoint, version)
);

-- stored_at is read together with the next number, so that numbers are in its order but for moments
-- and a time is found by halving them.
CREATE SEQUENCE hookpost.event_num;
CREATE TABLE hookpost.event (
  num          bigint PRIMARY KEY,
  set_version  bigint NOT NULL,
  created_at   timestamptz NOT NULL,
  stored_at    timestamptz NOT NULL,
  erased_at    timestamptz,
  mode         smallint NOT NULL,
  tenant       text COLLATE "C" NOT NULL,
  id           text COLLATE "C" NOT NULL,
  type         text COLLATE "C" NOT NULL,
  content_type text NOT NULL,
  hash         bytea NOT NULL,
  refs         json,
  trace        text,                    -- W3C trace context: traceparent, a space, tracestate
  body         bytea                    -- NULL once erased
);
ALTER TABLE hookpost.event ALTER body SET STORAGE EXTERNAL;
CREATE UNIQUE INDEX event_id ON hookpost.event (tenant, mode, id);
CREATE INDEX event_log ON hookpost.event (tenant, mode, num);

CREATE TABLE hookpost.ref (
  tenant text COLLATE "C" NOT NULL,
  mode   smallint NOT NULL,
  ref    text COLLATE "C" NOT NULL,
  event  bigint NOT NULL,
  PRIMARY KEY (tenant, mode, ref, event)
);

-- Decided lists of endpoints too long to become deliveries with their event.
CREATE TABLE hookpost.fanout (
  event     bigint NOT NULL,
  due_at    timestamptz NOT NULL,       -- of the deliveries
  part      integer NOT NULL,
  endpoints bigint[] NOT NULL,
  PRIMARY KEY (event, part)
);

CREATE TABLE hookpost.delivery (
  event       bigint NOT NULL,
  endpoint    bigint NOT NULL,
  owner       bigint,
  leased_at   timestamptz,              -- of the last lease
  lease_until timestamptz,
  due_at      timestamptz NOT NULL,
  created_at  timestamptz NOT NULL,
  first_at    timestamptz,
  finished_at timestamptz,
  round       integer NOT NULL,
  token       integer NOT NULL DEFAULT 0,
  attempts    integer NOT NULL DEFAULT 0,
  failures    integer NOT NULL DEFAULT 0,
  unknown     integer NOT NULL DEFAULT 0,
  last_status integer NOT NULL DEFAULT 0,
  state       smallint NOT NULL,        -- 0 scheduled, 1 ready, 2 leased, 3 delivered, 4 exhausted, 5 cancelled
  reason      text NOT NULL DEFAULT '',
  -- The attempt that delivered it, where there was nothing more to say of it: then its number is
  -- attempts, its status last_status, and it has no row in attempt.
  success_at   timestamptz,
  success_took bigint,
  success_url  text,
  PRIMARY KEY (event, endpoint, round)
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0,
        autovacuum_analyze_scale_factor = 0.1);
CREATE INDEX delivery_log ON hookpost.delivery (endpoint, event);
CREATE INDEX delivery_scheduled ON hookpost.delivery (due_at) WHERE state = 0;
CREATE INDEX delivery_ready ON hookpost.delivery (endpoint, due_at) WHERE state = 1;
CREATE INDEX delivery_leased ON hookpost.delivery (lease_until) WHERE state = 2;
CREATE INDEX delivery_exhausted ON hookpost.delivery (event) WHERE state = 4;
-- For counts only.
CREATE INDEX delivery_later ON hookpost.delivery (endpoint, due_at) WHERE state = 0;
CREATE INDEX delivery_lost ON hookpost.delivery (endpoint) WHERE state = 4;

-- Of plain successes the delivery tells.
CREATE TABLE hookpost.attempt (
  event           bigint NOT NULL,
  endpoint        bigint NOT NULL,
  started_at      timestamptz NOT NULL,
  took            bigint NOT NULL,      -- microseconds
  round           integer NOT NULL,
  n               integer NOT NULL,
  status          integer NOT NULL,
  outcome         smallint NOT NULL,    -- 1 delivered, 2 failed, 3 unknown
  url             text NOT NULL,
  class           text NOT NULL,
  error           text NOT NULL,
  response_header bytea,
  response_body   bytea,
  PRIMARY KEY (event, endpoint, round, n)
);
CREATE INDEX attempt_answer ON hookpost.attempt (started_at) WHERE response_header IS NOT NULL OR response_body IS NOT NULL;

INSERT INTO hookpost.migration (version) VALUES (1);
