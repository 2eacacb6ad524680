"""HTTP: what clients see. Shapes, problems, headers, authentication, documentation, routes."""
