"""The networks of the program that opens a pickle, which may be any, or missing."""

raise AssertionError('a pickle brings its own networks')
