"""Things any torch project could use: image operators, statistics, safe snapshots of modules, devices."""
