//go:build !race

package storemodel

const raceEnabled = false
