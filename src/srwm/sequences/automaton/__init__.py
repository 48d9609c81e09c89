"""An automaton given in context: symbols are bound to elements of a group, then a word of these symbols is read."""
