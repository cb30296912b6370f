//go:build !race

package api

const detectorCost = 1
