"""Objects followed through a video, as pure functions of frames' embeddings.

    engine = Engine.load("tiny", video=True)
    session = Session(Rules((ConceptPrompt("star"),), every=10))
    answer = advance(engine, [Turn(session, engine.expand(embedding), size, frame=0)])[0]
    answer.shown, answer.session  # the objects in the frame; what the next frame needs

- `sessions`: `advance` takes any number of videos one frame on, and batches all their objects. A `Session` is
  immutable, and owns the ids; a `Turn` is one frame with its prompts, corrections and removals.
- `following`: `follow` reads, encodes and advances through a video's frames.
- `passes`: below it, `start`, `correct` and `step` for objects that have no ids. Each returns `Tracked`: mask logits,
  quality, presence, and the object's next `TrackState`.
- `prompts`: clicks and a box (`types.VisualPrompt`), or a mask (`MaskPrompt`).
- `state`: `TrackState`, bounded. `storing`: sessions to bytes and back.
- `separating`, `separation`: objects of a frame that claim the same cells, and frames that are not remembered.
- `association`: which detection is which object.

An embedding of a frame is that of an image: `Engine.encode`, or an encoder's. Only the process that tracks needs
`video=True`.
"""
