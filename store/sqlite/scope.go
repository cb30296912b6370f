package sqlite

import (
	"fmt"

	"github.com/hookpost/hookpost/store"
)

// scopeRow is what the database knows of a scope.
type scopeRow struct {
	scope   store.Scope
	num     int64 // 0: it has no row yet
	version int64 // of its endpoint set
}

// scopeOf reads a scope's row; one that does not exist has num 0.
func scopeOf(x execer, scope store.Scope) (scopeRow, error) {
	s := scopeRow{scope: scope}
	if err := store.CheckScope(scope); err != nil {
		return s, err
	}
	_, err := first(x, func(r row) { s.num, s.version = r.int(0), r.int(1) },
		"SELECT num, version FROM hookpost_scope WHERE tenant = ? AND mode = ?", scope.Tenant, int(scope.Mode))
	return s, err
}

// databaseID returns what tells the database from others.
func databaseID(x execer) (id int64, err error) {
	_, err = first(x, func(r row) { id = r.int(0) }, "SELECT id FROM hookpost_store")
	return id, err
}

// scopeAndID is scopeOf and databaseID in one.
func scopeAndID(x execer, scope store.Scope) (s scopeRow, id int64, err error) {
	s.scope = scope
	if err := store.CheckScope(scope); err != nil {
		return s, 0, err
	}
	_, err = first(x, func(r row) { id, s.num, s.version = r.int(0), r.int(1), r.int(2) }, `SELECT i.id, s.num, s.version
		FROM hookpost_store i LEFT JOIN hookpost_scope s ON s.tenant = ? AND s.mode = ?`, scope.Tenant, int(scope.Mode))
	return s, id, err
}

// create makes the scope's row if there is none.
func (s *scopeRow) create(x execer) error {
	if s.num != 0 {
		return nil
	}
	_, err := first(x, func(r row) { s.num = r.int(0) },
		"INSERT INTO hookpost_scope (tenant, mode) VALUES (?, ?) RETURNING num", s.scope.Tenant, int(s.scope.Mode))
	return err
}

// bump raises the version of the scope's endpoint set.
func (s *scopeRow) bump(x execer) error {
	s.version++
	_, err := x.exec("UPDATE hookpost_scope SET version = ? WHERE num = ?", s.version, s.num)
	return err
}

// scopeByNum is the inverse of a scope's number.
func scopeByNum(x execer, num int64) (scopeRow, error) {
	s := scopeRow{num: num}
	found, err := first(x, func(r row) {
		s.scope = store.Scope{Tenant: r.text(0), Mode: store.Mode(r.int(1))}
		s.version = r.int(2)
	}, "SELECT tenant, mode, version FROM hookpost_scope WHERE num = ?", num)
	if err == nil && !found {
		err = fmt.Errorf("sqlite: scope %d is missing from hookpost_scope", num)
	}
	return s, err
}
