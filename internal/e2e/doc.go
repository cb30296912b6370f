// Package e2e holds tests that need whole processes and a database that may be
// broken. Each starts workers, receivers on loopback and, for PostgreSQL, a server
// of its own, injects a fault while events flow, and then compares what the
// receivers got with what the delivery log says.
//
// go test runs a short form of all faults. HOOKPOST_FAULTS=full, or make faults,
// runs the full one, with more events and more and longer faults. With -v each
// prints its figures, and at the end all of them stand in a table. TestChaos draws its
// faults by chance; HOOKPOST_SEED repeats a run's, as far as the machine does.
//
// Without PostgreSQL its half is skipped; with CI=true that is a failure.
package e2e
