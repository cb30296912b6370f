// Package store defines what hookpost keeps and the contract by which it is
// kept: the records (endpoints, events, deliveries, attempts), the [Store]
// interface that a database implements, and the errors it answers with.
//
// Applications meet the records in the delivery log and choose a
// [Mode]; they otherwise hand a Store from store/memory, store/sqlite or
// store/postgres to sender.New and forget about it. Who writes a Store of their
// own finds every rule stated at the method it binds, and runs
// storetest.Run against the result.
//
// # Rules for every Store
//
//   - There is one clock, the store's. The contract passes durations and never
//     instants: a caller says "in 5 minutes" or "2 s ago" and the store adds it
//     to its own time. Only the log's filters and an event's own created_at are
//     instants. No result depends on a process's clock.
//   - One call is one commit. A method that returns an error has changed
//     nothing, with one exception: an error that wraps [ErrUnknownCommit] says
//     that the answer to the commit was lost.
//   - All methods may be called concurrently, from several processes where the
//     database allows it.
//   - Worlds are separate: what is stored under one [Scope] is never visible,
//     claimed by key or changed under another. Deliveries of all scopes are
//     claimed together and carry their scope.
//   - Moments are reached when the clock shows them: a lease has expired, a delivery
//     is due, a hold or a window is over as soon as now is not before its end.
//   - Times are kept to the microsecond, in UTC. Byte slices handed in are not
//     kept, those handed out belong to the caller.
package store
