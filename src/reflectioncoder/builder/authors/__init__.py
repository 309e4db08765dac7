"""The authors of reflection sequences, a module each; `registry.AUTHORS` has a row for every value of `build.author`."""
