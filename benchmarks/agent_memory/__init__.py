"""Evidence recall of agent memories: which of the turns that answer a question are found."""
