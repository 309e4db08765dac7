"""The authors of reflection sequences, one module each; `registry.AUTHORS` has a row for every value of `build.author`."""
