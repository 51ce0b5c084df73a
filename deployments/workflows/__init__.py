"""Workflows: Roboflow's engine (`roboflow-workflows`) in sandboxed processes, its SAM 3 steps on our replicas.

    ingress -> WorkflowRunner (runs.py) -> worker process (worker.py, engine.py): steps that compute
                    ^------------------------- a SAM 3 step asks for masks (provider.py)
                    '-> SegmentationService, as the HTTP routes do (models.py)

A step that follows objects through a video asks the runner too (video_steps.py). The video is a session of
`deployments.ingress.video`, which the step's next run finds by a name (videos.py).

A worker executes one run at a time. It has no network, no environment variables and no API key, and is killed when
its run takes too long. It is forked from the zygote, a process that has imported the engine once (zygote.py).
"""
