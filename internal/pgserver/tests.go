package pgserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
)

// EnvDSN names the variable with the DSN of a server for tests, in the form
// "host=… user=…" or as a URL. Its role must be allowed to create schemas. Without
// it tests start a server of their own.
const EnvDSN = "HOOKPOST_TEST_POSTGRES"

// ForTest returns the DSN of a server: the one that [EnvDSN] names, or one that
// runs until the test ends and would not survive a crash of the machine. Where there
// is none the test is skipped with one line, or fails if CI=true.
func ForTest(t testing.TB) string {
	t.Helper()
	dsn, stop, err := open(t.Context())
	switch {
	case skip(err):
		t.Skip(none(err))
	case err != nil:
		t.Fatal(none(err))
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return dsn
}

// BouncerForTest is [StartBouncer] for a test, and ends with it. Where there is no
// PgBouncer the test is skipped with one line, or fails if CI=true; it is skipped in
// any case where PgBouncer is too old.
func BouncerForTest(t testing.TB, to Upstream, prepared int) *Bouncer {
	t.Helper()
	b, err := StartBouncer(t.Context(), to, prepared)
	switch {
	case errors.Is(err, ErrOldBouncer), errors.Is(err, ErrNoBouncer) && os.Getenv("CI") != "true":
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Stop(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// Main is for TestMain of packages whose tests all need a server. They share the
// one that [ForTest] would return; use receives its DSN before they run. Main
// returns the exit status.
func Main(m *testing.M, use func(dsn string)) int {
	dsn, stop, err := open(context.Background())
	switch {
	case skip(err):
		fmt.Println("SKIP:", none(err))
		return 0
	case err != nil:
		fmt.Println("FAIL:", none(err))
		return 1
	}
	use(dsn)
	status := m.Run()
	if err := stop(); err != nil {
		fmt.Println("FAIL:", err)
		return 1
	}
	return status
}

func open(ctx context.Context) (dsn string, stop func() error, err error) {
	if dsn = os.Getenv(EnvDSN); dsn != "" {
		return dsn, func() error { return nil }, nil
	}
	s, err := Start(ctx, "fsync=off")
	if err != nil {
		return "", nil, err
	}
	return s.DSN("postgres"), s.Stop, nil
}

// skip says whether tests can be left out because of err.
func skip(err error) bool { return errors.Is(err, ErrNone) && os.Getenv("CI") != "true" }

func none(err error) string {
	return fmt.Sprintf("no PostgreSQL for these tests: %s is not set, and %v", EnvDSN, err)
}
