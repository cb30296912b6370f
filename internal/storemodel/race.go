//go:build race

package storemodel

const raceEnabled = true
