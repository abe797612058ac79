"""The work of writers while they are killed."""
