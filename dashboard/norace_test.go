//go:build !race

package dashboard

const detectorCost = 1
