package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hookpost/hookpost/store"
)

// SQLSTATE codes, https://www.postgresql.org/docs/current/errcodes-appendix.html.
const (
	codeReadOnly        = "25006"
	codeTxFailed        = "25P02"
	codeUnique          = "23505"
	codeBadText         = "22021"
	codeBadJSONText     = "22P05"
	codeNoSchema        = "3F000"
	codeNoTable         = "42P01"
	codeNoColumn        = "42703"
	codeNoRights        = "42501"
	codePreparedExists  = "42P05"
	codePreparedMissing = "26000"
	codeSerialization   = "40001"
	codeDeadlock        = "40P01"
	codeDiskFull        = "53100"
	codeLockTimeout     = "55P03"
	codeCancelled       = "57014"
	codeAdminShutdown   = "57P01"
	codeCrashShutdown   = "57P02"
	codeCannotConnect   = "57P03"
	codeTooManyConns    = "53300"
	codeBadPassword     = "28P01"
	codeBadRole         = "28000"
	codeUnknownDatabase = "3D000"

	// classConnection begins the codes by which poolers such as PgBouncer say that they
	// have lost the server.
	classConnection = "08"
)

// code returns the SQLSTATE of a server's error, whatever the driver, or "".
func code(err error) string {
	var state interface{ SQLState() string }
	if errors.As(err, &state) {
		return state.SQLState()
	}
	return ""
}

// explain turns an error of the driver's into one of the contract's. ctx is the
// caller's: that it has ended is preferred over what that has caused.
func explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	switch code(err) {
	case "":
	case codeReadOnly:
		return fmt.Errorf("%w: a standby, or default_transaction_read_only is set: %w", store.ErrReadOnly, err)
	case codeDiskFull:
		return fmt.Errorf("%w: %w", store.ErrFull, err)
	case codeLockTimeout, codeDeadlock, codeSerialization:
		return fmt.Errorf("%w: %w", store.ErrBusy, err)
	case codeCancelled:
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("%w: the server's statement_timeout, or a person, has ended the statement: %w", store.ErrBusy, err)
	case codeNoSchema, codeNoTable, codeNoColumn:
		return fmt.Errorf("%w: %w; run postgres.Migrate with the same Options.Schema", store.ErrNotMigrated, err)
	case codeNoRights:
		return fmt.Errorf("postgres: the database role lacks rights on hookpost's tables: %w", err)
	case codeBadText, codeBadJSONText:
		return fmt.Errorf("%w: text that PostgreSQL can't store: %w", store.ErrInvalid, err)
	case codePreparedExists, codePreparedMissing:
		return fmt.Errorf("postgres: a prepared statement is missing, or there already, as behind PgBouncer in transaction mode: "+
			"add default_query_exec_mode=exec to the DSN, or set max_prepared_statements in PgBouncer 1.21 or later: %w", err)
	case codeTxFailed:
		return fmt.Errorf("postgres: the transaction failed earlier and can only be rolled back: %w", err)
	default:
		return fmt.Errorf("postgres: %w", err)
	}
	switch {
	case errors.Is(err, pgx.ErrTxClosed), errors.Is(err, sql.ErrTxDone):
		return fmt.Errorf("postgres: the transaction was already committed or rolled back: %w", err)
	case ofContract(err):
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return fmt.Errorf("postgres: %w", err)
}

// errLostBefore says that there was no connection left to commit on.
var errLostBefore = errors.New("the connection was lost before the commit")

// explainCommit is explain for the answer to a COMMIT. Anything but an answer of the
// server's leaves it unknown, whatever the driver thinks of its own part.
func explainCommit(ctx context.Context, err error) error {
	if err == nil || isAnswer(err) || errors.Is(err, pgx.ErrTxCommitRollback) {
		return explain(ctx, err)
	}
	return fmt.Errorf("%w: %w", store.ErrUnknownCommit, err)
}

// explainPipeline is explain for a commit that was asked for together with all that
// it commits, under ctx.
func explainPipeline(ctx context.Context, err error) error {
	switch {
	case err == nil, isAnswer(err), neverSent(err), hadNoServer(err), ofContract(err):
		return explain(ctx, err)
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %w", store.ErrUnknownCommit, ctx.Err())
	}
	return fmt.Errorf("%w: %w", store.ErrUnknownCommit, err)
}

// isAnswer reports whether err is the server's word that nothing was committed. What
// it says when it goes down can come between a commit and its answer, and a panic can
// be that of the commit.
func isAnswer(err error) bool {
	c := code(err)
	if c == "" || c == codeAdminShutdown || c == codeCrashShutdown || strings.HasPrefix(c, classConnection) {
		return false
	}
	var e *pgconn.PgError
	return !errors.As(err, &e) || e.SeverityUnlocalized != "PANIC"
}

// neverSent reports whether the statements of a pipeline were not sent: the context
// had ended before, or preparing them failed, which goes first. That the connection is
// closed says nothing of when it was.
func neverSent(err error) bool {
	var preparing pgx.ErrPreprocessingBatch
	return errors.As(err, &preparing) || pgconn.SafeToRetry(err) && !errors.Is(err, pgconn.ErrConnClosed)
}

// hadNoServer reports whether PgBouncer says that it had no connection to pass a
// request on to. It names the setting that made it give up.
func hadNoServer(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && (strings.Contains(e.Message, "server_login_retry") || strings.Contains(e.Message, "query_wait_timeout"))
}

// ofContract reports whether err is one of package store's already.
func ofContract(err error) bool {
	for _, target := range []error{
		store.ErrNotFound, store.ErrInvalid, store.ErrConflict, store.ErrDuplicateURL, store.ErrChanged, store.ErrDisabled,
		store.ErrDeleted, store.ErrErased, store.ErrFinished, store.ErrBusy, store.ErrUnknownCommit, store.ErrClosed,
		store.ErrReadOnly, store.ErrFull, store.ErrNotMigrated, store.ErrNewerSchema, store.ErrForeignTx, store.ErrTooMany,
	} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// explainConnect says why the pool gave no connection.
func explainConnect(ctx context.Context, pool *pgxpool.Pool, err error) error {
	switch code(err) {
	case codeBadPassword, codeBadRole, codeUnknownDatabase, codeTooManyConns, codeCannotConnect:
		return fmt.Errorf("postgres: the server refuses the connection: %w", err)
	}
	if ctx.Err() == nil {
		return fmt.Errorf("postgres: no connection: %w", err)
	}
	if stat := pool.Stat(); errors.Is(ctx.Err(), context.DeadlineExceeded) && stat.AcquiredConns() == stat.MaxConns() {
		return fmt.Errorf("%w: no connection became free, all %d of the pool are in use; inside a transaction use SendTx: %w",
			store.ErrBusy, stat.MaxConns(), ctx.Err())
	}
	return fmt.Errorf("postgres: no connection: %w", ctx.Err())
}
