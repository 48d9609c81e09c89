"""A laboratory of sequence tasks: formal languages, words over groups, and an automaton that is given in context."""
