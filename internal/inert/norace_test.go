//go:build !race

package inert

const detectorCost = 1
