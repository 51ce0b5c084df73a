"""The routes of annotation tools, one room for each tool: it reads the tool's requests and writes the tool's answers.

    rooms         the tools, and the routes that the settings switch on
    route         a tool's router: its places for the key
    documented    a tool's routes in the OpenAPI document
    asking        one request of a tool: tenant, document, images, answers of the model
    outlines      masks as polygons that people edit
    label_studio  an ML backend of Label Studio
    cvat          the functions that CVAT finds at a Nuclio dashboard
    x_anylabeling the remote server of X-AnyLabeling

Only the tools that `SAM3_TOOLS` names have routes.
"""
