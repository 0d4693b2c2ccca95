"""How a page looks, whatever it tells: documents and their renderer, digits, colours and markers. Imports nothing of ours."""
