"""How the tests are held to the behaviours: rows, marks, mutants and their runners."""
