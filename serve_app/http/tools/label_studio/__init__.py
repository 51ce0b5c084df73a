"""Label Studio's "ML backend": suggestions for tasks, and a mask for each click with a smart tool.

    config   the labels and tools of a project's labelling configuration
    prompts  what an annotator drew with smart tools, as prompts
    tasks    the image of a task, and the right to fetch it
    brush    masks as Label Studio's run lengths
    regions  masks as regions of a task
    predict  one request for predictions
    schemas  bodies and answers
    routes   the routes

docs/label-studio.md says how to connect a project.
"""
