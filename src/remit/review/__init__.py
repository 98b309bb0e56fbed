"""What people decide: what happened in a session, who touched what, and the verdicts they sign."""
