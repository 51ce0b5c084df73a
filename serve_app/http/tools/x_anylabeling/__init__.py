"""The remote server of X-AnyLabeling, a desktop program: models and predictions.

    models   the models, with the buttons that the program shows for each
    schemas  bodies and answers
    shapes   masks as the program's shapes
    routes   the routes

docs/x-anylabeling.md says how to connect it.
"""
