"""People and programs around the service: a served instance, a customer, a mailbox."""
