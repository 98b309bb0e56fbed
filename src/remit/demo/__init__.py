"""What `remit demo` shows: one agent, one ticket, one session, from the grant to the evidence."""
