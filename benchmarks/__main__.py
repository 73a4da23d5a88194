"""`make bench`: every benchmark, one after the other, on the database that TEST_DB names."""

from benchmarks import bulk, countdowns, streams

for benchmark in (bulk, countdowns, streams):
    benchmark.main()
