"""What the processes say to each other about videos: rules, prompts, records, jobs. No torch, no Ray, no HTTP.

A session is one video, followed frame by frame. Its way:

1. The ingress reads the session's record from the store, decodes a frame and has it encoded. A frame's embedding
   lives only as long as its job: the pool remembers nothing of it, so frames push out nobody's images.
2. The decoder that the ring names for the session goes on from the tracker's state that it holds. It answers with the
   frame's objects and the session's next record.
3. The ingress puts record and answer into the store, in one step that fails where another request was faster. Then the
   client is answered. So what a client has seen is never lost, and a frame that is sent again is answered from the
   store.

The record is small: rules, ids, and where each object was seen last. The tracker's state is large, and only makes the
next frame better: a decoder that does not have it begins each object anew, by its last mask and under its own id.
"""
