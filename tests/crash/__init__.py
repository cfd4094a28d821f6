"""Nothing lost, nothing twice: processes are killed at every failpoint, and what is there afterwards is compared.

`workload` says what is sent, `site` runs an installation that can die, `sender` uploads as a customer does,
`round_trip` sends all of it over one death and waits for the end, `verdict` compares, `power` takes away what no sync
covered. `errands` are what is not on the way of an import, and `seen` is all that can be seen after one. The whole
`matrix` is `make crash`; a short one runs with the tests. What is proven: docs/durability.md.
"""
