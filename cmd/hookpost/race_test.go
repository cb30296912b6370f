//go:build race

package main

// detectorCost is how many times more memory is allocated with the race detector, at most.
const detectorCost = 4
