"""What writers do while they are killed."""
