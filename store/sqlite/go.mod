module github.com/hookpost/hookpost/store/sqlite

go 1.26.0

require (
	github.com/hookpost/hookpost v0.1.0
	modernc.org/sqlite v1.60.1
)

replace github.com/hookpost/hookpost => ../..
