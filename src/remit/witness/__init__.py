"""A witness is a second party who cosigns a log's heads: it refuses a head that is not a continuation of the last one
it saw, so that whoever holds the log's key can neither take records back nor show two histories.

`remit witness` serves one (`server`, over `witness` and `state`); a ledger asks several (`asking`, through `client`)
by a policy that says how many have to agree (`policy`). The wire is C2SP tlog-witness (`wire`), so that either side
may be somebody else's.
"""
