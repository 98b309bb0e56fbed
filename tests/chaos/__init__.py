"""What breaks, broken: processes, servers, hosts."""
