//go:build !race

package main

const detectorCost = 1
