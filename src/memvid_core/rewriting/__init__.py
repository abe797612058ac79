"""A memory written again in another form: converted, recovered from pictures, rescued after damage."""
