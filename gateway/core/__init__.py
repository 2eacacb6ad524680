"""The words of the domain: model, reply codes, transitions, config, clock, metrics."""
