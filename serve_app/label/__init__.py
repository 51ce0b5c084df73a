"""A folder of photos becomes a data set: images and class names in, masks in the formats of training tools out.

`sam3-serve label` runs it. Other programs use its steps with any Ray Dataset (docs/label.md):

    from serve_app.label.reading import ReadImages
    from serve_app.label.labeller import LabelImages
    from serve_app.label.objects import FindObjects

Nothing heavy is imported here.
"""
