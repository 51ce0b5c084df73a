"""The functions that CVAT's server finds at a "Nuclio dashboard", which this server is for it: no Nuclio is needed.

    functions  the functions, as the dashboard describes them
    schemas    bodies and answers
    shapes     masks as CVAT's server reads them
    tracking   shapes followed through a video
    routes     the dashboard's routes

docs/cvat.md says how to connect it.
"""
