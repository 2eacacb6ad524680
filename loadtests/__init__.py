"""Load tests: Locust scenarios over HTTP, each with a verdict on every unit."""
