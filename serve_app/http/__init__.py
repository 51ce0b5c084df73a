"""The HTTP API: the routes, names and defaults of Roboflow's SAM 3 API. Needs neither Ray nor torch."""
