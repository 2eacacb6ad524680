"""Puts a gateway together: stores, rules, workers, HTTP server; starts and stops them in order."""
