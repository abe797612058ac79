"""What is derived from the journal and can be thrown away: it knows ids and rows, never pictures."""
