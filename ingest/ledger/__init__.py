"""The ledger: the SQL database with everything but the customers' data."""
