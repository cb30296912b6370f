package sqlite

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/hookpost/hookpost/store"
)

// Primary result codes, https://www.sqlite.org/rescode.html.
const (
	codeBusy       = 5
	codeLocked     = 6
	codeNoMem      = 7
	codeReadOnly   = 8
	codeInterrupt  = 9
	codeIOErr      = 10
	codeCorrupt    = 11
	codeFull       = 13
	codeCantOpen   = 14
	codeConstraint = 19
	codeNotADB     = 26
)

// code returns the primary result code of an error of the driver's, or 0.
func code(err error) int {
	var c interface{ Code() int }
	if errors.As(err, &c) {
		return c.Code() & 0xff
	}
	return 0
}

func isBusy(err error) bool {
	c := code(err)
	return c == codeBusy || c == codeLocked
}

// fatal reports whether err is about the database and not about one statement,
// so that nothing more can be done in the transaction.
func fatal(err error) bool {
	switch code(err) {
	case codeBusy, codeLocked, codeNoMem, codeReadOnly, codeInterrupt, codeIOErr, codeCorrupt, codeFull, codeCantOpen, codeNotADB:
		return true
	}
	return false
}

// explain turns an error of the driver's into one of the contract's.
func explain(err error) error {
	if err == nil || errors.Is(err, store.ErrBusy) {
		return err
	}
	switch code(err) {
	case 0:
		return err
	case codeBusy, codeLocked:
		return fmt.Errorf("%w: %w", errBusy, err)
	case codeReadOnly:
		return fmt.Errorf("%w: %w", store.ErrReadOnly, err)
	case codeFull:
		return fmt.Errorf("%w: %w", store.ErrFull, err)
	case codeNotADB:
		return fmt.Errorf("sqlite: the file is not a SQLite database, or is encrypted: %w", err)
	case codeCorrupt:
		return fmt.Errorf("sqlite: the database file is damaged; restore it, or recover it with sqlite3's .recover: %w", err)
	case codeCantOpen:
		return fmt.Errorf("sqlite: cannot open the database file; its directory must exist and be writable: %w", err)
	}
	if strings.Contains(err.Error(), "no such table: hookpost_") {
		return fmt.Errorf("%w: %w", store.ErrNotMigrated, err)
	}
	return fmt.Errorf("sqlite: %w", err)
}

// errBusy is ErrBusy with the two things that cause it.
var errBusy = fmt.Errorf("%w: SQLite has one writer at a time, and an open transaction of the application's "+
	"or of another process holds up everything else; end it sooner, and to send from inside it use SendTx with (*Store).Tx, "+
	"begun with _txlock=immediate", store.ErrBusy)

// ctxErr prefers the reason that the caller's context ended over the
// interruption that it caused.
func ctxErr(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil && code(err) == codeInterrupt {
		return ctx.Err()
	}
	return err
}
