"""How ranks are started, on one host or many."""
