//go:build race

package inert

// detectorCost is how many times more memory is allocated with the race detector, at most.
const detectorCost = 4
