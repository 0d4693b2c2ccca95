"""How numbers and series look: digits, tables as text, colours and markers. Imports nothing of ours."""
