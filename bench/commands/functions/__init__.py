"""The commands as functions of the same words: `bench.report("runs/A")` is `bench report runs/A`, without what it prints.

A flag is a keyword (`--batch-sizes 1,4` is `batch_sizes=[1, 4]`), and one that is left out has the same default. Where a
teacher or a sampler is named that this process runs, an object may stand; in the place of a run's folder the records that
`bench.run` returned. What goes on is told on standard error, unless `quiet`. `bench.run` itself is in `bench.runs.run`,
`bench.doctor` and `bench.list_` are beside what prints them.
"""
