"""SAM 3 as pure functions: images in, embeddings out; embedding and prompts in, masks out.

Nothing is imported here, so that processes without torch (the ingress) can use the torch-free modules
(`types`, `errors`, `images`, `embedding`) at no cost.
"""
