"""Where evidence lies: tables, engines, migrations. Every stored row is evidence or a projection of it."""
