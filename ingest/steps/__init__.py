"""The steps of an import, each a generator over the one before: collect, decrypt, parse, map, load, settle."""
