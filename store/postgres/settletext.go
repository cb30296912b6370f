package postgres

import "github.com/hookpost/hookpost/store"

// The statements of [Store.Settle].

// unhealthy is the condition that a success changes what is known of an endpoint
// l: successes of healthy ones are written once a minute.
const unhealthy = `(l.failing_since IS NOT NULL OR l.failures <> 0 OR l.last_success IS NULL
	OR l.last_success <= statement_timestamp() - interval '1 minute')`

// failingNow is the condition that a success ends a row of failures of l.
const failingNow = `(l.failing_since IS NOT NULL OR l.failures <> 0)`

// lockOther locks what settlements may change, as far as nobody else holds it, and
// leaves word to settleOther in two settings of the transaction: of which settlements,
// by their ord, it has all that is needed, and which endpoints it has. $5 are those that
// will change for certain. The row of an endpoint that a success merely confirms is not
// needed.
const lockOther = `WITH l AS MATERIALIZED (
	SELECT l.endpoint FROM hookpost.lane l WHERE l.endpoint = ANY ($2::bigint[]) AND (l.endpoint = ANY ($5::bigint[]) OR ` + unhealthy + `)
	ORDER BY l.endpoint FOR UPDATE SKIP LOCKED
), d AS MATERIALIZED (
	SELECT s.ord, s.endpoint FROM unnest($1::bigint[], $2::bigint[], $3::int[], $4::int[]) AS s(event, endpoint, round, ord)
	CROSS JOIN LATERAL (SELECT FROM hookpost.delivery d WHERE d.event = s.event AND d.endpoint = s.endpoint AND d.round = s.round
		LIMIT 1 FOR UPDATE SKIP LOCKED) d
)
SELECT set_config('hookpost_settle.lanes', ARRAY(SELECT l.endpoint FROM l)::text, true),
	set_config('hookpost_settle.ords', ARRAY(SELECT d.ord FROM d WHERE d.endpoint = ANY (ARRAY(SELECT l.endpoint FROM l))
		OR NOT (d.endpoint = ANY ($5::bigint[]) OR coalesce((SELECT ` + failingNow + ` FROM hookpost.lane l WHERE l.endpoint = d.endpoint), false)))::text, true)`

// replaceUnknown lets a report take the place of an attempt that was unknown, and
// of no other.
const replaceUnknown = ` ON CONFLICT (event, endpoint, round, n) DO UPDATE SET outcome = excluded.outcome,
	started_at = excluded.started_at, took = excluded.took, status = excluded.status, url = excluded.url, class = excluded.class,
	error = excluded.error, response_header = excluded.response_header, response_body = excluded.response_body
	WHERE a.outcome = 3 AND excluded.outcome <> 3`

// settlePlain applies successes under leases that still stand and returns them, k
// being their place in the arrays. The delivery keeps what there is to know of the
// attempt. The state is written so that no index offers itself but the primary key:
// the one of all leases would be read whole, dead entries included.
const settlePlain = `WITH u AS (
	UPDATE hookpost.delivery d SET state = 3, unknown = 0, owner = NULL, lease_until = NULL, reason = '',
		last_status = ($6::int[])[s.k], finished_at = statement_timestamp(),
		success_at = statement_timestamp() - ($7::bigint[])[s.k] * interval '1 microsecond', success_took = ($8::bigint[])[s.k], success_url = s.url
	FROM unnest($9::text[]) WITH ORDINALITY AS s(url, k)
	WHERE d.event = ($1::bigint[])[s.k] AND d.endpoint = ($2::bigint[])[s.k] AND d.round = ($3::int[])[s.k]
	AND d.state + 0 = 2 AND d.token = ($4::int[])[s.k] AND d.attempts = ($5::int[])[s.k]
	RETURNING s.k, d.endpoint
), l AS MATERIALIZED (
	SELECT l.endpoint, l.failing_since FROM hookpost.lane l
	WHERE l.endpoint = ANY (ARRAY(SELECT u.endpoint FROM u WHERE NOT ($10::boolean[])[u.k])) AND ` + failingNow + `
	ORDER BY l.endpoint FOR UPDATE
), m AS MATERIALIZED (
	SELECT l.endpoint FROM hookpost.lane l
	WHERE l.endpoint = ANY (ARRAY(SELECT u.endpoint FROM u WHERE NOT ($10::boolean[])[u.k])) AND NOT ` + failingNow + ` AND ` + unhealthy + `
	ORDER BY l.endpoint FOR UPDATE SKIP LOCKED
), h AS (
	UPDATE hookpost.lane SET failing_since = NULL, failures = 0, last_success = statement_timestamp()
	WHERE lane.endpoint = ANY (ARRAY(SELECT l.endpoint FROM l UNION ALL SELECT m.endpoint FROM m))
)
SELECT u.k, l.failing_since
FROM u LEFT JOIN (SELECT * FROM l WHERE l.failing_since IS NOT NULL) l ON l.endpoint = u.endpoint`

// settleOther decides by the rules of [store.Queue] what becomes of settlements of
// any kind, and applies it. All rows it changes were locked by lockOther; of what that
// could not lock it says that it is busy.
//
// In k, fresh says that a report is new and stands that the lease does. What
// happens to the delivery is act: 0 nothing, 1 success, 2 counted failure, 3 the
// lease ends without a request, 4 as 2 or 3, but the endpoint was deleted.
const settleOther = `WITH s AS MATERIALIZED (
	SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::int[], $4::int[], $5::int[], $6::smallint[], $7::int[], $8::smallint[],
		$9::bigint[], $10::bigint[], $11::int[], $12::text[], $13::text[], $14::text[], $15::bytea[], $16::bytea[],
		$17::bigint[], $18::bigint[], $19::text[], $20::boolean[])
		AS s(event, endpoint, round, ord, token, verdict, n, outcome, ago, took, status, url, class, error, header, body, delay, hold, reason, quiet)
	WHERE s.ord = ANY (current_setting('hookpost_settle.ords')::int[])
), k AS MATERIALIZED (
	SELECT s.*, d.state, d.attempts, d.leased_at, coalesce(l.state, 3) AS lane, l.failing_since, l.last_failure, x.fresh, x.stands,
		(SELECT e.erased_at IS NOT NULL FROM hookpost.event e WHERE e.num = s.event) AS erased,
		CASE WHEN s.verdict = 1 THEN CASE WHEN x.fresh AND d.state <> 3 THEN 1 ELSE 0 END
		WHEN NOT (x.stands OR x.fresh AND d.state <= 2 AND d.token = s.token) THEN 0
		WHEN coalesce(l.state, 3) = 3 THEN 4 WHEN s.n = 0 THEN 3 ELSE 2 END AS act
	FROM s
	CROSS JOIN LATERAL (SELECT d.state, d.token, d.attempts, d.leased_at, d.success_at FROM hookpost.delivery d
		WHERE d.event = s.event AND d.endpoint = s.endpoint AND d.round = s.round LIMIT 1) d
	LEFT JOIN LATERAL (SELECT l.state, CASE WHEN l.endpoint = ANY (current_setting('hookpost_settle.lanes')::bigint[]) THEN l.failing_since END AS failing_since,
		l.last_failure FROM hookpost.lane l WHERE l.endpoint = s.endpoint LIMIT 1) l ON true
	CROSS JOIN LATERAL (SELECT s.n = 0 AND d.state = 2 AND d.token = s.token AS stands,
		s.n > 0 AND coalesce((SELECT a.outcome FROM hookpost.attempt a WHERE a.event = s.event AND a.endpoint = s.endpoint
			AND a.round = s.round AND a.n = s.n), CASE WHEN d.success_at IS NULL OR d.attempts <> s.n THEN 3 END, 1) = 3 AS fresh) x
), a AS (
	INSERT INTO hookpost.attempt AS a (event, endpoint, round, n, outcome, started_at, took, status, url, class, error, response_header, response_body)
	SELECT event, endpoint, round, n, outcome, statement_timestamp() - ago * interval '1 microsecond', took, status, url, class, error,
		CASE WHEN erased THEN NULL ELSE nullif(header, '') END, CASE WHEN erased THEN NULL ELSE nullif(body, '') END FROM k WHERE fresh
	UNION ALL                             -- of a lease that a late success ends, its own attempt may never be reported
	SELECT event, endpoint, round, attempts, 3, coalesce(leased_at, statement_timestamp()), 0, 0, '', '', '', NULL, NULL
	FROM k WHERE act = 1 AND state = 2 AND attempts <> n` + replaceUnknown + `
), u AS (
	UPDATE hookpost.delivery d SET
		state = CASE WHEN act = 1 THEN 3 WHEN act = 4 THEN 5 WHEN verdict = 3 THEN 4 WHEN verdict = 4 OR delay <= 0 THEN 1 ELSE 0 END,
		attempts = d.attempts - (n = 0)::int,
		first_at = CASE WHEN n = 0 AND d.attempts = 1 THEN NULL ELSE d.first_at END,
		failures = d.failures + (act = 2 OR act = 3 AND verdict = 2)::int,
		unknown = CASE WHEN act <= 2 OR act = 3 AND verdict = 2 THEN 0 ELSE d.unknown END,
		last_status = CASE WHEN act <= 2 AND status <> 0 THEN status ELSE d.last_status END,
		due_at = CASE WHEN act IN (2, 3) AND verdict = 2 THEN statement_timestamp() + greatest(delay, 0) * interval '1 microsecond' ELSE d.due_at END,
		finished_at = CASE WHEN act IN (1, 4) OR verdict = 3 THEN statement_timestamp() END,
		reason = CASE WHEN act = 4 THEN '` + store.ReasonDeleted + `' WHEN act <> 1 AND verdict = 3 THEN k.reason ELSE '' END,
		owner = NULL, lease_until = NULL
	FROM k WHERE act > 0 AND d.event = k.event AND d.endpoint = k.endpoint AND d.round = k.round
	RETURNING k.ord, d.state
), w AS (                                 -- what is new about each endpoint: failures after its last success, and any
	SELECT endpoint, count(*) FILTER (WHERE told AND verdict <> 1 AND ord > won) AS after, bool_or(told AND verdict <> 1) AS failed,
		max(won) AS won, max(hold) AS hold
	FROM (SELECT k.*, coalesce(max(ord) FILTER (WHERE told AND verdict = 1) OVER (PARTITION BY endpoint), -1) AS won
		FROM (SELECT endpoint, verdict, ord, fresh AND NOT quiet AS told, CASE WHEN fresh OR stands THEN hold ELSE 0 END AS hold FROM k) k) k
	GROUP BY endpoint
), h AS (
	UPDATE hookpost.lane l SET
		failures = CASE WHEN w.won >= 0 THEN 0 ELSE l.failures END + w.after,
		failing_since = CASE WHEN w.after = 0 THEN CASE WHEN w.won >= 0 THEN NULL ELSE l.failing_since END
			WHEN w.won >= 0 OR l.failing_since IS NULL OR l.last_failure IS NULL
			OR l.last_failure < statement_timestamp() - interval '24 hours' THEN statement_timestamp() ELSE l.failing_since END,
		last_failure = CASE WHEN w.failed THEN statement_timestamp() ELSE l.last_failure END,
		last_success = CASE WHEN w.won >= 0 THEN statement_timestamp() ELSE l.last_success END,
		hold_until = CASE WHEN w.hold > 0 THEN greatest(l.hold_until, statement_timestamp() + w.hold * interval '1 microsecond') ELSE l.hold_until END
	FROM w WHERE l.endpoint = w.endpoint AND l.endpoint = ANY (current_setting('hookpost_settle.lanes')::bigint[]) AND (w.failed OR w.hold > 0 OR w.won >= 0 AND ` + unhealthy + `)
)
SELECT k.ord, false, k.act BETWEEN 1 AND 3, coalesce(u.state, k.state), k.lane, k.fresh AND NOT k.quiet, k.fresh OR k.stands,
	k.failing_since, k.last_failure, statement_timestamp()
FROM k LEFT JOIN u ON u.ord = k.ord
UNION ALL
SELECT b.ord, true, false, 0, 1, false, false, NULL, NULL, statement_timestamp()
FROM unnest($1::bigint[], $2::bigint[], $3::int[], $4::int[]) AS b(event, endpoint, round, ord)
WHERE b.ord <> ALL (current_setting('hookpost_settle.ords')::int[]) AND EXISTS (SELECT FROM hookpost.delivery d
	WHERE d.event = b.event AND d.endpoint = b.endpoint AND d.round = b.round)`
