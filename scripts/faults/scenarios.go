package main

import (
	"slices"
)

// scenarios, in the order in which "all" plays them.
var scenarios = slices.Concat(calm, kills, leaders, partitions, lans, lives, twins, damages, points, statistics, liars, snapshots, clocks, syncs, disks, contracts, upgrades, controls)
