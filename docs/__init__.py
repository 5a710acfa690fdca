"""Pages for users; ``reference`` holds the code that writes the pages made from code."""
