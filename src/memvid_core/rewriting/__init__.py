"""Rewriting a memory in another form: converting it, recovering it from pictures, rescuing it after damage."""
